"""Progress bars in notebooks such as Jupyter.

Rich needs the package ipywidgets for this. A display whose content is replaced works without it, in all notebooks.
"""

import html
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import ProgressColumn, TaskID

from mbert_cli.terminal.console import Console
from mbert_cli.terminal.progress import Bar, Bars

_SECONDS_BETWEEN_UPDATES = 0.25


def is_notebook() -> bool:
    """Whether the program runs in a notebook."""
    return RichConsole().is_jupyter


class NotebookConsole(Console):
    """A console whose bars are shown below the cell of a notebook, all in the same place.

    Args:
        quiet: print no messages.
    """

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet)
        self._display: Any = None

    @contextmanager
    def _shown_bar(self, description: str, total: int | None, *times: ProgressColumn) -> Iterator[Bar]:
        yield Bar(_NotebookBars(self._show), None, self.is_due, description, total)

    def _show(self, content: str) -> None:
        from IPython.display import HTML, display

        if self._display is None:
            self._display = display(HTML(content), display_id=True)
        else:
            self._display.update(HTML(content))


class _NotebookBars(Bars):
    """A bar as HTML.

    Args:
        show: replaces what is shown.
    """

    def __init__(self, show: Any) -> None:
        super().__init__(disable=True)
        self._show = show
        self._next = 0.0

    def update(self, task_id: TaskID, **change: Any) -> None:
        """Count units, and show the bar four times a second, and at its end."""
        super().update(task_id, **change)
        task = self.tasks[0]
        is_done = task.total is not None and task.completed >= task.total
        if is_done or time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_UPDATES
            maximum = "" if task.total is None else f' value="{task.completed:.0f}" max="{task.total:.0f}"'
            of = "" if task.total is None else f"/{task.total:,.0f}"
            text = html.escape(f"{task.description} {task.completed:,.0f}{of}")
            self._show(f"<progress{maximum}></progress> {text}<br><small>{html.escape(task.fields['note'])}</small>")
