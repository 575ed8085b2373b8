"""Rows of a file that can be skipped without being parsed."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

from mbert_cli.data.parquet import ParquetFile
from mbert_cli.data.row import Row
from mbert_cli.data.source import Lines


@runtime_checkable
class SkippableRows(Protocol):
    """An iterator over rows, which can also skip them."""

    def __iter__(self) -> Iterator[Row]:
        """Return the object itself."""

    def __next__(self) -> Row:
        """Return the next row."""

    def skip(self, most: int) -> int:
        """Skip rows, good or bad, without checking them; return their number, which is smaller at the end."""


class ParsedRows:
    """Rows that are skipped by reading them.

    Args:
        rows: the rows.
    """

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows

    def __iter__(self) -> "ParsedRows":
        return self

    def __next__(self) -> Row:
        return next(self._rows)

    def skip(self, most: int) -> int:
        """See `SkippableRows`."""
        return sum(1 for _ in islice(self._rows, most))


class TextRows:
    """Rows of a text file. Lines that are a row whatever they contain are skipped without being parsed.

    Args:
        rows: the rows below the header.
        lines: the lines from which `rows` are parsed.
        rows_in: see `Lines.skip`; called only for lines at which a row can begin.
        continue_at: returns the rows from a line on; `lines` is at this line.
        last: the last line of the header; 0 if there is no header.
        last_line: returns the last line that `rows` has used; None if each row is one line.
    """

    def __init__(
        self,
        rows: Iterator[Row],
        lines: Lines,
        rows_in: Callable[[bytes], int | None],
        continue_at: Callable[[int], Iterator[Row]],
        last: int = 0,
        last_line: Callable[[], int] | None = None,
    ) -> None:
        self._rows, self._lines = rows, lines
        self._rows_in, self._continue_at = rows_in, continue_at
        self._last = last
        self._last_line = last_line or (lambda: self._last)

    def __iter__(self) -> "TextRows":
        return self

    def __next__(self) -> Row:
        row = next(self._rows)
        self._last = row.line
        return row

    def skip(self, most: int) -> int:
        """See `SkippableRows`."""
        skipped = 0
        while skipped < most:
            # Otherwise lines were read whose rows are still to come, such as those that give a JSONL file its header.
            if self._last_line() == self._lines.number:
                before = self._lines.number
                skipped += self._lines.skip(most - skipped, self._rows_in)
                if self._lines.number > before:
                    self._last = self._lines.number
                    self._rows = self._continue_at(self._lines.number + 1)
            if skipped < most:
                if next(self, None) is None:
                    break
                skipped += 1
        return skipped


class ParquetRows:
    """Rows of a Parquet file. The line of a row is its number.

    Args:
        file: the file.
    """

    def __init__(self, file: ParquetFile) -> None:
        self._file, self._number = file, 0
        self._rows = file.rows()

    def __iter__(self) -> "ParquetRows":
        return self

    def __next__(self) -> Row:
        cells, place = next(self._rows)
        self._number += 1
        return Row(self._number, cells, place=place)

    def skip(self, most: int) -> int:
        """See `SkippableRows`."""
        skipped = min(most, self._file.row_count - self._number)
        self._number += skipped
        self._rows = self._file.rows(self._number)
        return skipped


def delimited_rows_in(quotes: bool, width: int) -> Callable[[bytes], int | None]:
    """Return a function that counts the rows in a line of a delimited table; see `Lines.skip`.

    Args:
        quotes: cells may be quoted.
        width: number of columns.
    """

    def rows_in(line: bytes) -> int | None:
        if (quotes and b'"' in line) or (b"\r" in line and line.index(b"\r") != len(line) - 2):
            return None
        return 1 if width == 1 or line not in (b"\n", b"\r\n") else 0

    return rows_in


def json_rows_in(line: bytes) -> int | None:
    """Return the number of rows in a line of a JSONL file; see `Lines.skip`."""
    text = line.strip()
    if not text:
        return 0
    return 1 if text.startswith(b"{") else None
