"""Counts of the columns of a file, from which `init` guesses."""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mbert_cli.authoring.foreign_formats import ForeignFormat, foreign_format
from mbert_cli.data.bad_rows import BadRow, BadRows
from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.label_text import as_number, folded
from mbert_cli.data.row import Row
from mbert_cli.data.table import NESTED, Table, is_data, kind_of_value
from mbert_cli.errors import BadRowsError

_MOST_COUNTED = 100_000
_LONGEST_LABEL = 1_000  # characters; longer cells are texts, not labels
_MOST_BAD = 0.1  # share of rows; if more cannot be read, the delimiter or the quoting may be wrong
_DELETE = "delete bad rows"
_REMEDY = f"{_DELETE}; if the columns are wrong, choose another --delimiter or --quoting"


@dataclass(frozen=True)
class FileReading:
    """How files are read. The keys of a recipe's task have the same names.

    Args:
        quoting: see `Table`.
        delimiter: see `Table`.
        columns: alternative names: the name in the recipe, mapped to the name in the files.
        missing: labels that mean that the label is missing, such as `-` in SNLI. A recipe has no such key: these labels
            are no classes, and `on_bad_row: skip` leaves their rows out.
    """

    quoting: Quoting = "auto"
    delimiter: Delimiter = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def open(self, path: str) -> Table:
        """Open a file as a table."""
        return Table(path, self.quoting, self.delimiter, self.columns)

    def header(self, table: Table) -> list[str]:
        """Return the names of a table's columns in a recipe."""
        names = {other: name for name, other in self.columns.items() if name not in table.header}
        return [names.get(name, name) for name in table.header]

    def section(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return the recipe keys about files for a task that reads some columns; defaults are left out."""
        names = {name: other for name, other in self.columns.items() if name in columns}
        keys = {"quoting": self.quoting, "delimiter": self.delimiter, "columns": names}
        return {key: value for key, value in keys.items() if value not in ("auto", {})}


@dataclass
class Column:
    """Counts of one column, in one file or several.

    Args:
        name: name of the column in a recipe.
        rows: number of rows.
        filled: number of cells that are not empty.
        words: number of words in all cells.
        values: the cells in the form in which labels are compared, and how often each occurs.
        other_forms: number of cells that are not in Unicode NFC.
        is_distinct: the column has a name, and no other column has the same name.
        missing: how often each text occurs that means that the label is missing; these cells are not filled.
        nested: the kind of the first value that contains values: `an object` or `a list`; empty if there is none.
        word_counts: number of cells with each number of words.
    """

    name: str
    rows: int = 0
    filled: int = 0
    words: int = 0
    values: Counter[str] = field(default_factory=Counter)
    other_forms: int = 0
    is_distinct: bool = True
    missing: Counter[str] = field(default_factory=Counter, init=False)
    nested: str = field(default="", init=False)
    word_counts: Counter[int] = field(default_factory=Counter, init=False)

    def count(self, cell: str) -> None:
        """Add one cell to the counts."""
        self.rows += 1
        text = cell.strip()
        if not text:
            return
        if self.missing and (label := folded(text)) in self.missing:
            self.missing[label] += 1
            return
        self.filled += 1
        words = len(text.split())
        self.words += words
        self.word_counts[words] += 1
        if len(text) <= _LONGEST_LABEL:
            self.other_forms += not unicodedata.is_normalized("NFC", text)
            text = folded(text)
        if text in self.values or len(self.values) < _MOST_COUNTED:
            self.values[text] += 1

    def plus(self, other: "Column") -> "Column":
        """Return the counts of two files together."""
        both = Column(
            self.name,
            self.rows + other.rows,
            self.filled + other.filled,
            self.words + other.words,
            self.values + other.values,
            self.other_forms + other.other_forms,
            self.is_distinct and other.is_distinct,
        )
        both.missing = _sum(self.missing, other.missing)
        both.nested = self.nested or other.nested
        both.word_counts = self.word_counts + other.word_counts
        return both

    @property
    def empty(self) -> int:
        """Number of empty cells."""
        return self.rows - self.filled - self.missing.total()

    @property
    def mean_words(self) -> float:
        """Mean number of words in a cell that is not empty."""
        return self.words / max(1, self.filled)

    @property
    def distinct(self) -> int:
        """Number of different values; the number of filled cells if there are too many values to count."""
        return len(self.values) if len(self.values) < _MOST_COUNTED else self.filled

    @property
    def repeats(self) -> bool:
        """Whether a value occurs twice."""
        return any(count > 1 for count in self.values.values())

    @property
    def is_unique(self) -> bool:
        """Whether each row has a different value."""
        return self.filled == self.rows and not self.repeats

    @property
    def numbers(self) -> dict[str, float]:
        """The values that are finite numbers."""
        values = {text: as_number(text) for text in self.values}
        return {text: value for text, value in values.items() if math.isfinite(value)}


@dataclass(frozen=True)
class CountedFile:
    """Counts of all columns of a file.

    Args:
        path: the file.
        columns: the columns in the order of the header.
        odd_names: names of columns that look like data, because the file may have no header.
        warnings: warnings about the rows, one sentence each.
        skipped: a note about the rows that cannot be read, or an empty text; training skips them.
        delimiter_hint: a sentence about another possible delimiter, or an empty text.
        delimiter: the character between the cells of a text table.
    """

    path: str
    columns: list[Column]
    odd_names: list[str]
    warnings: list[str] = field(default_factory=list)
    delimiter_hint: str = ""
    skipped: str = ""
    delimiter: str = "\t"

    def column(self, name: str) -> Column | None:
        """Return the column with a name; None if there is none, or more than one."""
        return next((each for each in self.columns if each.name == name and each.is_distinct), None)

    @property
    def foreign(self) -> ForeignFormat | None:
        """The format of a published data set that is not a table with a header; None for a table."""
        return foreign_format(self.delimiter.join(column.name for column in self.columns))

    @property
    def remark(self) -> str:
        """A remark if the file seems to have no header; otherwise empty."""
        if self.foreign is not None:
            return self.foreign.remark(self.path)
        if not self.odd_names:
            return ""
        names = ", ".join(f"'{name[:40]}{'...' if len(name) > 40 else ''}'" for name in self.odd_names[:3])
        return f"the first row looks like data, not like names of columns ({names}); if it is data, add a header line"


def count_file(path: str, reading: FileReading) -> CountedFile:
    """Count the columns of a file. A few rows that cannot be read are left out.

    Args:
        path: a table with a header.
        reading: how the file is read.

    Raises:
        DataError: the file cannot be read.
        BadRowsError: more than a tenth of the rows cannot be read, or the quotes of a row are doubtful; the error
            lists their problems.
    """
    rows = 0
    with reading.open(path) as table:
        has_header_line = not table.is_jsonl and table.schema is None
        bad = BadRows(path)
        header = reading.header(table)
        names = Counter(header)
        columns = [Column(name, is_distinct=bool(name) and names[name] == 1) for name in header]
        for column in columns:
            column.missing.update(dict.fromkeys(map(folded, reading.missing), 0))
        for row in table.all_rows():
            rows += 1
            if row.problem:
                bad.add(BadRow(row.line, row.problem))
                continue
            for index, (column, cell) in enumerate(zip(columns, row.cells, strict=True)):
                column.count(cell)
                if not has_header_line and not column.nested and (kind := kind_of_value(row, index, column.name)):
                    column.nested = kind if kind in NESTED else ""
        warnings, hint, delimiter = table.warnings, table.delimiter_hint, table.delimiter
    # Rows that may be correct if their quotes are read in another way are never skipped.
    odd = [column.name for column in columns if has_header_line and _looks_like_data(column)]
    counted = CountedFile(path, columns, odd, warnings, hint, bad.note, delimiter)
    if bad.count > _MOST_BAD * rows or (bad.concern_quotes and reading.quoting == "auto"):
        try:
            bad.raise_if_any(_skip_remedy(bad, rows, has_header_line))
        except BadRowsError as error:  # the rows may be correct, and the first one not a header
            raise BadRowsError(*error.problems, *([f"{path}: {counted.remark}."] if counted.remark else [])) from None
    return counted


def _skip_remedy(bad: BadRows, rows: int, has_header_line: bool) -> str:
    """Return what helps besides the remedies of the problems."""
    if (bad.are_in_bytes and 2 * bad.count > rows) or bad.concern_only_quotes:
        return ""
    return _REMEDY if has_header_line and not bad.are_in_bytes else _DELETE


def _sum(one: Counter[str], two: Counter[str]) -> Counter[str]:
    """Return the sum of two counts; unlike `+`, it keeps texts that occur zero times."""
    total = Counter(one)
    total.update(two)
    return total


def good_rows(table: Table) -> Iterator[Row]:
    """Yield the rows of a table that can be read."""
    return (row for row in table.all_rows() if not row.problem)


def _looks_like_data(column: Column) -> bool:
    name = folded(column.name)
    is_label = column.values[name] > 1 and len(column.values) <= column.filled // 2
    return is_label or is_data(name)
