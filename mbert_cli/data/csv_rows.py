"""Rows between delimiters, with and without RFC 4180 quotes."""

import csv
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from mbert_cli.data.problem import Problem
from mbert_cli.data.row import LONE_CARRIAGE_RETURN, QUOTES_ARE_TEXT, Row, wrong_width
from mbert_cli.data.source import BadLine

Quoting = Literal["auto", "csv", "none"]
_MAX_CELL = 1 << 24  # characters
_NEVER_CLOSED = "unexpected end of data"  # Python's message
_AHEAD = 1 << 22  # characters

Lines = Iterator[str | BadLine]


def plain_rows(lines: Lines, delimiter: str, width: int = 0, first: int = 1) -> Iterator[Row]:
    """Yield the rows of a table in which a quote is an ordinary character: one row per line.

    An empty line is skipped, but in a table with one column it is an empty text.

    Args:
        lines: lines of the file.
        delimiter: the character between cells.
        width: number of columns; 0 if the first row is the header, which sets it.
        first: number of the first line.
    """
    for number, line in enumerate(lines, first):
        if isinstance(line, BadLine):
            yield Row(number, problem=line.problem)
            continue
        text = line.removesuffix("\n").removesuffix("\r")
        cells = text.split(delimiter)
        if "\r" in text:
            yield Row(number, problem=LONE_CARRIAGE_RETURN)
        elif text or width == 1:
            width = width or len(cells)
            yield Row(number, cells, problem=None if len(cells) == width else wrong_width(len(cells), width))


class CsvRows:
    """The rows of a table with RFC 4180 quotes; the first is the header.

    An empty line is skipped, but in a table with one column it is an empty text. After a malformed row, reading
    continues at its second line, so that a stray quote does not hide the rows after it.

    If quotes are ordinary characters in a file, two of them can join several rows into one: the first seems to open a
    cell, and the second, some lines below, seems to close it. A row is suspected of this if each of its lines has as
    many columns as the header; the lines of a real cell with line breaks rarely do. A suspected row has a problem,
    unless the caller trusts quotes or rows show that quotes are syntax in this file: this row, an earlier one, or most
    of the rows with quotes in the next megabytes. In these two cases it is read as one row. In the second case its
    lines are added to `joined`, for a warning.

    Args:
        lines: lines of the file, with their line ends.
        delimiter: the character between cells.
        trusted: the caller knows that quotes are syntax.
    """

    def __init__(self, lines: Lines, delimiter: str, trusted: bool) -> None:
        # The limit is global in the csv module; a larger limit does no harm.
        csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
        self._lines = _Lines(lines)
        self._delimiter, self._trusted = delimiter, trusted
        self._width = 0
        self._header = ""
        self._needs_quotes = False  # rows have cells that cannot be written without quotes
        self._seen_to = 0  # the last line in which such rows were looked for
        self._unpaired = 0  # last line of a malformed row; the next unpaired quote up to it belongs to that row
        self.joined: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        while True:
            line = self._lines.begin()
            is_malformed = True
            try:
                cells = next(reader)
                is_malformed, problem = False, self._problem(cells, line)
            except StopIteration:
                return
            except csv.Error as error:
                cells, problem = [], _explain(str(error))
            except _BadLineError as error:
                last = line + len(self._lines.record)
                cells, problem = [], error.problem
                if last > line:
                    problem = replace(problem, text=f"line {last} {problem.text}")
                    self._unpaired = sys.maxsize  # the closing quote is somewhere below
            if not cells and not problem:
                if self._width != 1:
                    continue
                cells = [""]
            if is_malformed or (problem and self._each_line_could_be_a_row()):
                self._unpaired = max(self._unpaired, self._lines.go_back())
                reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
            yield Row(line, cells, problem=problem)

    @property
    def last_line(self) -> int:
        """Number of the last line that the rows so far have used."""
        return self._lines.last

    def continue_at(self, line: int) -> None:
        """Continue at a line of the file, because the lines before it were skipped."""
        self._lines.continue_at(line)

    @property
    def warnings(self) -> list[str]:
        """Warnings about the rows that were read so far."""
        if not self.joined:
            return []
        if len(self.joined) == 1:
            what = f"a quoted cell spans {self.joined[0]}, each of which could be a row by itself"
        else:
            cells = f"{len(self.joined)} quoted cells"
            what = f"{cells} span lines that could be rows by themselves, the first {self.joined[0]}"
        return [f"{what}; {QUOTES_ARE_TEXT}; if the cells are correct, add --quoting csv (quoting: csv)"]

    def _problem(self, cells: Sequence[str], line: int) -> Problem | None:
        """Return the problem of a row that was read as `cells`; None for the header and for a well-formed row."""
        record = self._lines.record
        if not cells:
            return None
        if not self._width:
            self._width, self._header = len(cells), "".join(record)
            return None
        if line <= self._unpaired and sum(each.count('"') for each in record) % 2:
            self._unpaired = 0
            return Problem("contains an unpaired quote, and so does an earlier row", (QUOTES_ARE_TEXT,))
        spans = f"lines {line} to {line + len(record) - 1}" if len(record) > 1 else ""
        if len(cells) != self._width:
            return wrong_width(len(cells), self._width, spans)
        if spans and self._each_line_could_be_a_row():
            if self._trusted:
                return None
            if not self._quotes_are_syntax(cells):
                rows = f"a row of {self._width} columns" if self._width > 1 else "a row"
                return Problem(
                    f"a quoted cell spans {spans}, each of which could be {rows} by itself",
                    (QUOTES_ARE_TEXT, "if one cell contains these lines, add --quoting csv (quoting: csv)"),
                    kind="a quoted cell spans lines",
                )
            self.joined.append(spans)
        elif _needs_quotes(record, cells, self._delimiter):
            self._needs_quotes = True
        return None

    def _each_line_could_be_a_row(self) -> bool:
        return _could_be_rows(self._lines.record, self._delimiter, self._width)

    def _quotes_are_syntax(self, cells: Sequence[str]) -> bool:
        """Whether this row, an earlier one or most of the later ones show that quotes are syntax, not text."""
        record = self._lines.record
        has_doubled_quotes = any("\n" in cell and '"' in cell for cell in cells)
        if self._needs_quotes or has_doubled_quotes:
            return True
        # A comma in a sentence is followed by a space; a comma between cells is not.
        after = f"{self._delimiter} "
        if self._delimiter != "\t" and after not in self._header and any(after in line for line in record):
            return True
        if self._width > 1 and _all_quoted(record, self._delimiter):
            return True
        if self._lines.last > self._seen_to:
            ahead = self._lines.ahead(_AHEAD)
            self._seen_to = self._lines.last + len(ahead)
            self._needs_quotes = need_quotes(ahead, self._delimiter, self._width)
        return self._needs_quotes


class _BadLineError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Lines:
    """Lines that keep the lines of the current row, and can go back to its second line."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._again: deque[str | BadLine] = deque()
        self._read: list[str | BadLine] = []
        self._number = 1  # line number of the first line in `_read`

    @property
    def record(self) -> list[str]:
        """The lines of the current row, without a line that is not text."""
        return [line for line in self._read if isinstance(line, str)]

    def begin(self) -> int:
        """Begin a row; return its line number."""
        self._number += len(self._read)
        self._read = []
        return self._number

    @property
    def last(self) -> int:
        """Number of the last line of the current row."""
        return self._number + len(self._read) - 1

    def continue_at(self, number: int) -> None:
        """Continue at a line; the lines between it and the current row do not come."""
        assert not self._again
        self._number, self._read = number, []

    def go_back(self) -> int:
        """Go back to the second line of the current row; return the number of its last line."""
        last = self.last
        self._again.extendleft(reversed(self._read[1:]))
        del self._read[1:]
        return last

    def ahead(self, most: int) -> list[str]:
        """Return lines below the current row, which still come; at least `most` characters, if the file has them."""
        lines = [line for line in self._again if isinstance(line, str)]
        size = sum(map(len, lines))
        while size < most and (line := next(self._lines, None)) is not None:
            self._again.append(line)
            if isinstance(line, str):
                lines.append(line)
                size += len(line)
        return lines

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._read.append(line)
        if isinstance(line, BadLine):
            raise _BadLineError(line.problem)
        return line


def need_quotes(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether more rows have cells that cannot be written without quotes than rows have quotes in wrong places.

    Args:
        lines: lines of the file; the last row may be incomplete.
        delimiter: the character between cells.
        width: number of columns.
    """
    needing = wrong = 0
    rest = _Lines(iter(lines))
    reader = csv.reader(rest, delimiter=delimiter, strict=True)
    while True:
        rest.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if _NEVER_CLOSED in str(error):  # or the last row is incomplete
                break
            wrong += 1
            rest.go_back()
            reader = csv.reader(rest, delimiter=delimiter, strict=True)
            continue
        if cells is None:
            break
        if not any('"' in line for line in rest.record) or _could_be_rows(rest.record, delimiter, width):
            continue
        if len(cells) != width:
            wrong += 1
        elif _needs_quotes(rest.record, cells, delimiter):
            needing += 1
    return needing > wrong


def _could_be_rows(record: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether each line of a row could be a row by itself."""
    return all(line.count(delimiter) == width - 1 for line in record)


def _needs_quotes(record: Sequence[str], cells: Sequence[str], delimiter: str) -> bool:
    """Whether a row has a cell that cannot be written without quotes."""
    return '"' in record[0] and any(delimiter in cell or "\n" in cell for cell in cells)


def _all_quoted(record: Sequence[str], delimiter: str) -> bool:
    """Whether all cells of a row are quoted."""
    try:
        # In this mode, Python's reader converts cells without quotes to numbers.
        cells = next(csv.reader(record, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONNUMERIC))
    except ValueError:
        return False
    return all(isinstance(cell, str) for cell in cells)


def _explain(message: str) -> Problem:
    if "field larger" in message:
        text = f"a cell is longer than {_MAX_CELL >> 20} Mi characters"
        return Problem(text, ("is a quote open? Close it", QUOTES_ARE_TEXT))
    if _NEVER_CLOSED in message:
        return Problem("a quote opens here and is never closed", ("close it", QUOTES_ARE_TEXT))
    if "expected after" in message:
        remedies = ("inside a quoted cell, write each quote twice", QUOTES_ARE_TEXT)
        return Problem("text follows a closing quote", remedies)
    if "new-line character" in message:
        return LONE_CARRIAGE_RETURN
    return Problem(f"is not well-formed CSV ({message})")
