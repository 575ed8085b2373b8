"""Tables: TSV, CSV, JSONL and Parquet files as a header and a stream of rows that know their line."""

import io
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal

from mbert_cli.data.csv_rows import CsvRows, plain_rows
from mbert_cli.data.hub import PREFIX, dataset_files
from mbert_cli.data.json_rows import JsonRow, json_rows, with_header
from mbert_cli.data.parquet import Place, kind_of_parquet, parquet_rows, rows_of_files
from mbert_cli.data.row import Row
from mbert_cli.data.source import BadLine, Kind, decoded, open_source
from mbert_cli.errors import DataError
from mbert_cli.messages import nearest

Quoting = Literal["auto", "csv", "none"]
Delimiter = Literal["auto", "tab", "comma", "semicolon", "pipe"]
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_GUESSED = ("tab", "comma", "semicolon")  # a pipe is too common inside texts and labels to be guessed
GUESSED_DELIMITERS = tuple(_DELIMITERS[name] for name in _GUESSED)
"""The delimiters that are looked for in a header, in this order."""
_HEADER_LINES = 20
_QUOTED = re.compile(r'(^|[\t,;|])"(?:[^"]|"")*("?)')  # a cell in quotes, and its closing one
_KINDS = {type(None): "null", bool: "true or false", list: "a list", dict: "an object"}
_FORMATS = {"\t": "TSV", ",": "CSV", ";": "CSV with semicolons", "|": "columns separated by pipes"}


class Table:
    """A table being read: `header`, which stands at `header_line`, then its rows, once. A context manager.

    Args:
        path: the file; `-` is standard input. One whose name ends in `.jsonl`, or which begins with a brace and is not
            named `.tsv` or `.csv`, holds one JSON object a line. What is compressed by gzip, and what is Parquet, is
            known by its first bytes.
        quoting: `csv` for RFC 4180 quotes, `none` where a quote is a character like any other. `auto` is `csv`, but
            refuses quotes that seem to join rows; see `CsvRows`.
        delimiter: `auto` is the first of tab, comma and semicolon that the header holds, else a tab.
        names: other names that columns may have in this file.

    Raises:
        DataError: the file cannot be read, is empty, or is not a UTF-8 text table; with its line.
    """

    def __init__(
        self,
        path: str,
        quoting: Quoting = "auto",
        delimiter: Delimiter = "auto",
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = "standard input" if path == "-" else path
        self.path = None if path == "-" else Path(path)
        self.quoting: Quoting = quoting
        self.names = names
        self.schema: Any = None  # of Parquet
        self.delimiter_hint = ""
        self.is_jsonl, self.delimiter, self.header_line = False, "\t", 1
        self._csv: CsvRows | None = None
        self._used: set[str] = set()  # columns that every object of a JSONL file must have
        self._texts: set[int] = set()  # columns that hold texts
        self._rows: Iterator[Row]
        self._file: io.BufferedIOBase = io.BytesIO()
        self._kind: Kind
        if path.startswith(PREFIX):
            self._kind, self.path = "parquet", None
            self._take_parquet(*rows_of_files(dataset_files(path), path))
            return
        self._file, self._kind = open_source(path)
        try:
            if self._kind == "parquet":
                self._take_parquet(*parquet_rows(self._file, self.name))
            else:
                self._take_text(path, decoded(self._file, self.name), delimiter)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if sys.stdin is None or self._file is not sys.stdin.buffer:
            self._file.close()

    def __iter__(self) -> Iterator[Row]:
        for row in self.all_rows():
            if row.problem:
                raise DataError(f"{self.name}:{row.line}: {row.problem}.")
            yield row

    def all_rows(self) -> Iterator[Row]:
        """Yield the rows, also those that cannot be read, with their problem."""
        for row in self._rows:
            if row.record is not None and not row.problem:
                missing = next((name for name in self._used if name not in row.record), None)
                if missing is not None:
                    yield Row(row.line, problem=f"no '{missing}'")
                    continue
            if not row.problem and (problem := self._problem_of_texts(row)):
                yield Row(row.line, problem=problem)
                continue
            if row.problem and len(row.cells) not in (0, len(self.header)) and self.delimiter_hint:
                yield Row(row.line, problem=f"{row.problem}.{self.delimiter_hint.removesuffix('.')}")
                continue
            yield row

    def _problem_of_texts(self, row: Row) -> str:
        """Return why a cell of a text column is not a text; an empty text is one, and so is a number."""
        for column in self._texts:
            what = kind_of_value(row, column, self.header[column])
            if what:
                return f"'{self.header[column]}' must be a text, but is {what}"
        return ""

    @property
    def warnings(self) -> list[str]:
        """What the rows that were read so far leave in doubt, a sentence each."""
        return [] if self._csv is None else [f"{self.name}: {each}." for each in self._csv.warnings]

    def _take_parquet(self, schema: Any, rows: Iterator[tuple[list[str], Place]]) -> None:
        self.schema, self.header = schema, list(schema.names)
        self._rows = (Row(number, cells, place=place) for number, (cells, place) in enumerate(rows, 1))

    def _take_text(self, path: str, lines: Iterator[str | BadLine], delimiter: Delimiter) -> None:
        first, head = _head(lines, self.name)
        # What a name calls a table is one: a header may begin with a brace, too.
        may_be_json = not path.removesuffix(".gz").endswith((".tsv", ".csv"))
        self.is_jsonl = path.removesuffix(".gz").endswith(".jsonl") or (may_be_json and first.lstrip().startswith("{"))
        if may_be_json:
            _check_one_object_a_line(first, f"{self.name}:{len(head)}")
        if self.is_jsonl:
            self._take_jsonl(json_rows(chain(head, lines)))
            return
        if delimiter == "auto":
            outside = first if self.quoting == "none" else _outside_quotes(first, head, lines)
            self.delimiter = next((each for each in GUESSED_DELIMITERS if each in outside), "\t")
            self.delimiter_hint = _delimiter_hint(self.delimiter, outside)
        else:
            self.delimiter = _DELIMITERS[delimiter]
        if self.quoting == "none":
            self._rows = plain_rows(chain(head, lines), self.delimiter)
        else:
            self._csv = CsvRows(chain(head, lines), self.delimiter, trusted=self.quoting == "csv")
            self._rows = iter(self._csv)
        row = next(self._rows)
        if row.problem:
            raise DataError(f"{self.name}:{row.line}: {row.problem}.")
        self.header_line, self.header = row.line, row.cells

    def _take_jsonl(self, rows: Iterator[JsonRow]) -> None:
        first, self.header, rows = with_header(rows)
        if first.problem:
            raise DataError(f"{self.name}:{first.line}: {first.problem}.")
        self.header_line = first.line
        self._rows = (
            Row(row.line, [row.cells.get(name, "") for name in self.header], row.record, problem=row.problem)
            for row in rows
        )

    @property
    def description(self) -> str:
        """What the file was taken for."""
        if self._kind == "parquet":
            format_ = "Parquet"
        elif self.is_jsonl:
            format_ = "JSONL"
        else:
            format_ = _FORMATS[self.delimiter] + (", quotes are text" if self.quoting == "none" else "")
        compressed = ", gzip" if self._kind == "gzip" else ""
        return f"{self.name}: {format_}{compressed}; columns {', '.join(self.header)}"

    def has(self, name: str) -> bool:
        """Whether there is a column of a name, or of its other name."""
        return name in self.header or self.names.get(name) in self.header

    def column(self, name: str, why: str = "", required: bool = True) -> int:
        """Return the index of a column.

        Args:
            name: as in the header; where that has none of it, its other name among `names` is looked for.
            why: who asks for it, e.g. ``task sst's text``.
            required: whether an object of a JSONL file that lacks it is a bad row; otherwise its cell is empty.

        Raises:
            DataError: there is no such column, or more than one.
        """
        if name not in self.header:
            name = self.names.get(name, name)
        asked = f", asked for as {why}" if why else ""
        if self.header.count(name) == 1:
            if required:
                self._used.add(name)
            return self.header.index(name)
        place = f"{self.name}:{self.header_line}"
        if name in self.header:
            raise DataError(f"{place}: has more than one column '{name}'{asked}; rename all but one.")
        raise DataError(
            f"{place}: has no column '{name}'{asked}{nearest(name, [c for c in self.header if c])}{self.delimiter_hint}"
        )

    def text_column(self, name: str, why: str = "") -> int:
        """Return the index of a column; rows whose value there is not a text cannot be read. See `column`."""
        found = self.column(name, why)
        self._texts.add(found)
        return found


def kind_of_value(row: Row, column: int, name: str) -> str:
    """Return `null`, `a list` and so on for a cell that was not a text or a number in its file; otherwise nothing."""
    if row.record is not None:
        value = row.record.get(name, "")
        return "" if isinstance(value, str) else _KINDS[type(value)]
    return "" if row.place is None else kind_of_parquet(row.place, column, row.cells[column])


def _head(lines: Iterator[str | BadLine], name: str) -> tuple[str, list[str | BadLine]]:
    """Return the first line that is not blank, and all lines up to it."""
    head: list[str | BadLine] = []
    for line in lines:
        head.append(line)
        if isinstance(line, BadLine):
            raise DataError(f"{name}:{len(head)}: {line.problem}.")
        if line.strip():
            return line, head
    raise DataError(f"{name}: is empty; expected a header line and rows.")


def _outside_quotes(header: str, head: list[str | BadLine], lines: Iterator[str | BadLine]) -> str:
    """Return what of a header is outside quotes, reading on while one is open.

    Args:
        header: its first line.
        head: the lines that were read; more are added.
        lines: those after them.
    """
    for _ in range(_HEADER_LINES):
        if all(match[2] for match in _QUOTED.finditer(header)) or (line := next(lines, None)) is None:
            break
        head.append(line)
        header += line if isinstance(line, str) else ""
    return _QUOTED.sub(r"\1", header)


def _delimiter_hint(delimiter: str, header: str) -> str:
    """Return which other delimiter a header may be meant to have, as the end of a message; nothing where it has none.

    Args:
        delimiter: what was guessed.
        header: the line.
    """
    others = [name for name, sign in _DELIMITERS.items() if sign in header and sign != delimiter]
    if not others:
        return ""
    name = max(others, key=lambda each: header.count(_DELIMITERS[each]))
    read_as = next(each for each, sign in _DELIMITERS.items() if sign == delimiter)
    return (
        f" The columns were split at each {read_as}; if {name} is the delimiter, "
        f"add --delimiter {name} (in a recipe's task: delimiter: {name})."
    )


def _check_one_object_a_line(line: str, place: str) -> None:
    """Check that a file does not begin a JSON document of several lines."""
    text = line.strip()
    # A header may begin with a bracket, too: [text],[label].
    is_array = text == "[" or (text.startswith("[") and text.lstrip("[ ").startswith("{"))
    if is_array or text == "{":
        what = "array" if is_array else "object of several lines"
        raise DataError(f"{place}: begins a JSON {what}; write one object a line (JSON Lines).")
