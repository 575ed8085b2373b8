"""What a command says while it works: a live bar on a terminal, plain lines elsewhere; all of it on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mbert_cli.errors import one_line


class Talk:
    """Says things on stderr.

    Args:
        quiet: say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print one line."""
        self.console.print(one_line(line), markup=False)

    @contextmanager
    def bar(self, description: str, total: int | None) -> Iterator["Bar"]:
        """Show a bar while the block runs, on a terminal only.

        Args:
            description: what is going on.
            total: how many units there are; None where nobody knows.
        """
        live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal or self.console.quiet,
            refresh_per_second=4,
        )
        with live:
            yield Bar(live, description, total)


class Bar:
    """A bar that is being shown."""

    def __init__(self, live: Progress, description: str, total: int | None) -> None:
        self._live = live
        self._task = live.add_task(description, total=total, note="")

    def advance(self, note: str = "", by: int = 1) -> None:
        """Count units as done.

        Args:
            note: shown at the end of the bar.
            by: how many units.
        """
        self._live.update(self._task, advance=by, note=note)
