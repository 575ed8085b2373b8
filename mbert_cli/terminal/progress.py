"""Progress bars: live on a terminal, a plain line after each minute without a line elsewhere."""

from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from mbert_cli.messages import one_line


class Bar:
    """A progress bar, or the plain lines in its place.

    Args:
        bars: shows the bar on a terminal.
        print_line: prints a plain line in place of the bar; None on a terminal.
        is_due: whether it is time for such a line.
        description: what is in progress.
        total: number of units; None if it is not known.
    """

    def __init__(
        self,
        bars: Progress,
        print_line: Callable[[str], None] | None,
        is_due: Callable[[], bool],
        description: str,
        total: int | None,
    ) -> None:
        self._bars = bars
        self._print_line = print_line
        self._is_due = is_due
        self._description = one_line(description)
        self._total = total
        self._task = bars.add_task(self._description, total=total, note="")
        self._done = 0

    def advance(self, note: Callable[[], str] = str, by: int = 1) -> None:
        """Count units as done.

        Args:
            note: returns the text shown beside the bar.
            by: number of units.
        """
        self._done += by
        if self._print_line is None:
            self._bars.update(self._task, advance=by, note=note())
        elif self._is_due():
            of = "" if self._total is None else f" of {self._total:,}"
            self._print_line("; ".join(filter(None, (f"{self._description}: {self._done:,}{of}", note()))))


class Bars(Progress):
    """The bars on a terminal, each with its note below it; a note that is too long for the terminal is cut."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Return the table of bars, then their notes."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if note := task.fields["note"]:
                yield Text(note, style="dim", no_wrap=True, overflow="ellipsis")


def new_bars(console: Console, is_live: bool, *times: ProgressColumn) -> Bars:
    """Return an empty group of bars.

    Args:
        console: where they are shown.
        is_live: whether that is a terminal.
        times: columns for elapsed and remaining time.
    """
    return Bars(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=None),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        *times,
        console=console,
        transient=True,
        disable=not is_live,
        refresh_per_second=4,
    )
