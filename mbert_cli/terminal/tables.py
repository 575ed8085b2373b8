"""Tables that fit terminals of any width."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

from rich.box import HEAVY_HEAD, Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

_MIN_TEXT_WIDTH, _MIN_NUMBER_WIDTH = 20, 10  # of a column whose cells are wider
_GAP = 2  # between columns that have no lines


@dataclass
class FittedTable:
    """A table that never breaks a word or a number, even on a narrow terminal.

    It is printed in the first of these forms that fits: with lines; without lines; without some columns, with a note
    that names them; as `narrow`, if given; as a block of lines for each row.

    Args:
        columns: headings of the columns.
        right: for each column, whether it is right-aligned.
        drop: columns that may be left out; the first is left out first.
        narrow: printed instead if the table does not fit.
        caption: a line below the table.
        heading: a line above the table, which `narrow` replaces as well.
        lines: whether the table has lines.
    """

    columns: Sequence[str]
    right: Sequence[bool]
    drop: Sequence[str] = ()
    narrow: RenderableType | None = None
    caption: str = ""
    heading: str = ""
    lines: bool = True
    _rows: list[list[Text] | None] = field(default_factory=list, init=False)  # None is a line between sections

    def add_row(self, *cells: str | Text) -> None:
        """Add a row. Missing cells at its end are empty; text is not read as markup."""
        texts = [Text(cell) if isinstance(cell, str) else cell for cell in cells]
        self._rows.append(texts + [Text()] * (len(self.columns) - len(cells)))

    def add_section(self) -> None:
        """Add a line below the rows that were added so far."""
        self._rows.append(None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        for count in range(len(self.drop) + 1):
            shown = [i for i, name in enumerate(self.columns) if name not in self.drop[:count]]
            with_lines = [(HEAVY_HEAD, 3 * len(shown) + 1)] if self.lines else []
            for box, frame in [*with_lines, (None, _GAP * (len(shown) - 1))]:
                widths = _widths([self._needs(i) for i in shown], width - frame)
                if widths is not None:
                    yield from self._above()
                    yield self._table(shown, widths, box)
                    yield from self._below(self.drop[:count], width)
                    return
        if self.narrow is not None:
            yield self.narrow
            return
        yield from self._above()
        yield from self._blocks(width)
        yield from self._below((), width)

    def _needs(self, column: int) -> tuple[int, int]:
        """Return the minimum width of a column, and the width at which no cell is wrapped."""
        cells = [row[column].plain for row in self._rows if row is not None]
        widest = max((cell_len(cell) for cell in cells), default=0)
        heading = self.columns[column]
        words = [word for text in (heading, *cells) for word in text.split()]
        minimum = min(widest, _MIN_NUMBER_WIDTH if self.right[column] else _MIN_TEXT_WIDTH)
        return max([minimum, *map(cell_len, words)]), max(widest, cell_len(heading))

    def _table(self, shown: Sequence[int], widths: Sequence[int], box: Box | None) -> Table:
        padding = (0, 1) if box else (0, _GAP, 0, 0)
        table = Table(box=box, padding=padding, pad_edge=box is not None, show_header=any(self.columns))
        for i, width in zip(shown, widths, strict=True):
            justify = "right" if self.right[i] else "left"
            # Text, so that square brackets in a name are not read as markup.
            table.add_column(Text(self.columns[i]), justify=justify, width=width, overflow="fold")  # type: ignore[arg-type]
        for row in self._rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*(row[i] for i in shown))
        return table

    def _above(self) -> Iterator[Text]:
        if self.heading:
            yield Text(self.heading)

    def _below(self, dropped: Sequence[str], width: int) -> Iterator[Text]:
        if self.caption:
            yield Text(self.caption, style="italic dim")
        if dropped:
            yield Text(f"not shown in {width} columns: {', '.join(dropped)}", style="italic dim")

    def _blocks(self, width: int) -> Iterator[RenderableType]:
        """Yield a block for each row: a line for each cell, which starts with the heading."""
        longest = max(map(cell_len, self.columns))
        rows = [row for row in self._rows if row is not None and any(cell.plain for cell in row)]
        for number, row in enumerate(rows):
            if number:
                yield Text()
            for name, cell in zip(self.columns, row, strict=True):
                room = width - longest - _GAP
                if not cell.plain:
                    continue
                if name and max(map(cell_len, cell.plain.split()), default=0) <= room:
                    line = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
                    line.add_column(width=longest)
                    line.add_column(width=room, overflow="fold")
                    line.add_row(Text(name), cell)
                    yield line
                else:
                    yield from (Text(name),) if name else ()
                    yield unbroken(cell.plain, width, cell.style)


def unbroken(text: str, width: int, style: str | Style = "") -> Text:
    """Wrap a text without breaking words, even words that are longer than a line."""
    lines = wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return Text("\n".join(lines), style=style, no_wrap=True, overflow="ignore")


def new_table(
    *columns: str | tuple[str, str], drop: Sequence[str] = (), narrow: RenderableType | None = None
) -> FittedTable:
    """Return an empty table.

    Args:
        columns: headings; (heading, `right`) for a right-aligned column.
        drop: see `FittedTable`.
        narrow: see `FittedTable`.
    """
    pairs = [column if isinstance(column, tuple) else (column, "left") for column in columns]
    return FittedTable([name for name, _ in pairs], [justify == "right" for _, justify in pairs], drop, narrow)


def key_values(values: Mapping[str, Any]) -> FittedTable:
    """Return a table of names and values, without lines."""
    table = new_table("", "")
    table.lines = False
    for key, value in values.items():
        table.add_row(key, str(value))
    return table


def _widths(needs: Sequence[tuple[int, int]], room: int) -> list[int] | None:
    """Return the width of each column; None if the table does not fit.

    Args:
        needs: minimum and maximum width of each column.
        room: total width.
    """
    widths = [minimum for minimum, _ in needs]
    if sum(widths) > room:
        return None
    while sum(widths) < room:
        growing = [i for i, (_, maximum) in enumerate(needs) if widths[i] < maximum]
        if not growing:
            break
        for i in growing[: room - sum(widths)]:
            widths[i] += 1
    return widths
