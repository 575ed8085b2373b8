"""A file's columns, counted: what `init` guesses from."""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.label_text import as_number, folded
from mbert_cli.data.table import Table

_MOST_COUNTED = 100_000
_LONGEST_LABEL = 1_000  # characters; longer cells are texts
_SENTENCE = 5  # words; names of columns are shorter


@dataclass(frozen=True)
class FileReading:
    """How files are read; a task of a recipe says the same.

    Args:
        quoting: see `Table`.
        delimiter: see `Table`.
        columns: other names that columns have in the files.
    """

    quoting: Quoting = "auto"
    delimiter: Delimiter = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)

    def open(self, path: str) -> Table:
        """Return a file as a table."""
        return Table(path, self.quoting, self.delimiter, self.columns)

    def header(self, table: Table) -> list[str]:
        """Return the names of a table's columns as a recipe says them."""
        names = {other: name for name, other in self.columns.items() if name not in table.header}
        return [names.get(name, name) for name in table.header]

    def section(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return what a task that reads some columns says of its files."""
        names = {name: other for name, other in self.columns.items() if name in columns}
        found = {"quoting": self.quoting, "delimiter": self.delimiter, "columns": names}
        return {key: value for key, value in found.items() if value not in ("auto", {})}


@dataclass
class Column:
    """What is counted of a column, in one file or several.

    Args:
        name: as a recipe says it.
        rows: of the files.
        filled: cells that are not empty.
        words: in all cells.
        values: the cells as labels are compared, and how often each occurs.
        other_forms: cells that differ from their label in Unicode's form.
        is_distinct: whether no other column has the name, and it has one.
    """

    name: str
    rows: int = 0
    filled: int = 0
    words: int = 0
    values: Counter[str] = field(default_factory=Counter)
    other_forms: int = 0
    is_distinct: bool = True

    def count(self, cell: str) -> None:
        """Count a cell."""
        self.rows += 1
        text = cell.strip()
        if not text:
            return
        self.filled += 1
        self.words += len(text.split())
        if len(text) <= _LONGEST_LABEL:
            self.other_forms += not unicodedata.is_normalized("NFC", text)
            text = folded(text)
        if text in self.values or len(self.values) < _MOST_COUNTED:
            self.values[text] += 1

    def plus(self, other: "Column") -> "Column":
        """Return the column of two files."""
        return Column(
            self.name,
            self.rows + other.rows,
            self.filled + other.filled,
            self.words + other.words,
            self.values + other.values,
            self.other_forms + other.other_forms,
            self.is_distinct and other.is_distinct,
        )

    @property
    def empty(self) -> int:
        """Cells that are empty."""
        return self.rows - self.filled

    @property
    def mean_words(self) -> float:
        """Words of a cell that is not empty."""
        return self.words / max(1, self.filled)

    @property
    def distinct(self) -> int:
        """How many different values there are; of very many, as if all the others differed, too."""
        return len(self.values) if len(self.values) < _MOST_COUNTED else self.filled

    @property
    def repeats(self) -> bool:
        """Whether a value occurs twice."""
        return any(count > 1 for count in self.values.values())

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.filled == self.rows and not self.repeats

    @property
    def numbers(self) -> dict[str, float]:
        """The values that are finite numbers."""
        found = {text: as_number(text) for text in self.values}
        return {text: value for text, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True)
class CountedFile:
    """A file's columns, counted.

    Args:
        path: the file.
        columns: in the header's order.
        odd_names: names that look like data, for the file may have no header.
        warnings: what is in doubt about its rows, a sentence each.
        delimiter_hint: which other delimiter the header may have, a sentence.
    """

    path: str
    columns: list[Column]
    odd_names: list[str]
    warnings: list[str] = field(default_factory=list)
    delimiter_hint: str = ""

    def column(self, name: str) -> Column | None:
        """Return a column by its name."""
        return next((each for each in self.columns if each.name == name and each.is_distinct), None)

    @property
    def remark(self) -> str:
        """That the file may have no header; nothing where it seems to have one."""
        if not self.odd_names:
            return ""
        names = ", ".join(f"'{name}'" for name in self.odd_names[:3])
        return f"the first row looks like data, not like names of columns ({names}); if it is, add a header line"


def count_file(path: str, reading: FileReading) -> CountedFile:
    """Count a file's columns.

    Args:
        path: a table with a header.
        reading: how it is read.

    Raises:
        DataError: it cannot be read.
    """
    with reading.open(path) as table:
        header = reading.header(table)
        names = Counter(header)
        columns = [Column(name, is_distinct=bool(name) and names[name] == 1) for name in header]
        for row in table:
            for column, cell in zip(columns, row.cells, strict=True):
                column.count(cell)
        has_header_line = not table.is_jsonl and table.schema is None
        warnings, hint = table.warnings, table.delimiter_hint
    odd = [column.name for column in columns if has_header_line and _looks_like_data(column)]
    return CountedFile(path, columns, odd, warnings, hint)


def _looks_like_data(column: Column) -> bool:
    name = folded(column.name)
    is_label = column.values[name] > 1 and len(column.values) <= column.filled // 2
    return math.isfinite(as_number(name)) or is_label or len(name.split()) >= _SENTENCE
