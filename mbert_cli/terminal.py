"""Tables for people, on terminals of any width; no torch here."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_ENDLESS = 100_000


def new_table(*columns: str | tuple[str, str]) -> Table:
    """Return an empty table.

    Args:
        columns: names; with `right` where what they hold is flush right.
    """
    table = Table()
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        # As Text: a name with square brackets is no markup.
        table.add_column(Text(name), justify="right" if justify == "right" else "left", overflow="fold")
    return table


class Fitting:
    """A table where the terminal is wide enough for its words, else something narrower.

    Args:
        wide: the table.
        narrow: what stands in for it.
    """

    def __init__(self, wide: Table, narrow: RenderableType) -> None:
        self.wide = wide
        self.narrow = narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        needed = Measurement.get(console, options.update(width=_ENDLESS), self.wide).minimum
        yield self.wide if needed <= options.max_width else self.narrow
