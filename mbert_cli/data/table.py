"""Tables: TSV, CSV, JSONL and Parquet files as a header and a stream of rows that know their line."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

from mbert_cli.data.hub import PREFIX, dataset_files
from mbert_cli.data.parquet import Place, as_text, parquet_rows, rows_of_files
from mbert_cli.data.source import Kind, decoded, open_source
from mbert_cli.errors import DataError
from mbert_cli.recipe_file import nearest

Quoting = Literal["csv", "none"]
Delimiter = Literal["auto", "tab", "comma", "semicolon", "pipe"]
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_GUESSED = ("tab", "comma", "semicolon")  # a pipe is too common inside texts and labels to be guessed
_FORMATS = {"\t": "TSV", ",": "CSV", ";": "CSV with semicolons", "|": "columns separated by pipes"}
_MAX_CELL = 1 << 24  # characters


@runtime_checkable
class TextSink(Protocol):
    """Anything text can be written to."""

    def write(self, text: str, /) -> object:
        """Write text."""


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        line: where it begins in the file, from 1; of a Parquet file, the number of the row.
        cells: its values, in the order of the header.
        record: the whole object, for a row of a JSONL file.
        place: where its values stand, for a row of a Parquet file.
    """

    line: int
    cells: list[str]
    record: dict[str, Any] | None = None
    place: Place | None = None


class Table:
    """A table being read: `header`, which stands at `header_line`, then its rows, once. A context manager.

    Args:
        path: the file; `-` is standard input. One whose name ends in `.jsonl`, or which begins with a brace and is not
            named `.tsv` or `.csv`, holds one JSON object a line. What is compressed by gzip, and what is Parquet, is
            known by its first bytes.
        quoting: `csv` for RFC 4180 quotes, `none` where a quote is a character like any other.
        delimiter: `auto` is the first of tab, comma and semicolon that the header holds, else a tab.
        names: other names that columns may have in this file.

    Raises:
        DataError: the file cannot be read, is empty, or is not a UTF-8 text table; with its line.
    """

    def __init__(
        self,
        path: str,
        quoting: Quoting = "csv",
        delimiter: Delimiter = "auto",
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = "standard input" if path == "-" else path
        self.path = None if path == "-" else Path(path)
        self.quoting: Quoting = quoting
        self.names = names
        self.schema: Any = None  # of Parquet
        self.delimiter_hint = ""
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
                return
            lines = decoded(self._file, self.name)
            head: list[str] = []  # blank lines, and the header or the first record
            while not head or not head[-1].strip():
                if (line := next(lines, None)) is None:
                    break
                head.append(line)
            first = head[-1] if head else ""
            if not first.strip():
                raise DataError(f"{self.name}: is empty; expected a header line and rows.")
            # What a name calls a table is one: a header may begin with a brace, too.
            may_be_json = not path.removesuffix(".gz").endswith((".tsv", ".csv"))
            self.is_jsonl = path.removesuffix(".gz").endswith(".jsonl") or (
                may_be_json and first.lstrip().startswith("{")
            )
            if may_be_json and (first.strip() == "{" or _is_json_array(first)):
                what = "array" if first.lstrip().startswith("[") else "object of several lines"
                raise DataError(f"{self.name}:{len(head)}: begins a JSON {what}; write one object a line (JSON Lines).")
            if delimiter == "auto":
                self.delimiter = next((_DELIMITERS[each] for each in _GUESSED if _DELIMITERS[each] in first), "\t")
                self.delimiter_hint = "" if self.is_jsonl else _delimiter_hint(self.delimiter, first)
            else:
                self.delimiter = _DELIMITERS[delimiter]
            self._rows = self._read(chain(head, lines))
            row = next(self._rows)
            self.header_line, self.header = row.line, row.cells
            if self.is_jsonl:
                self.header = list(row.record or ())
                self._rows = chain([row], self._rows)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if sys.stdin is None or self._file is not sys.stdin.buffer:
            self._file.close()

    def __iter__(self) -> Iterator[Row]:
        width = None if self.is_jsonl else len(self.header)
        for row in self._rows:
            if width is not None and len(row.cells) != width:
                raise DataError(
                    f"{self.name}:{row.line}: has {len(row.cells)} columns, but the header has {width}; "
                    f"check for a missing or stray delimiter or quote.{self.delimiter_hint}"
                )
            yield row

    def _take_parquet(self, schema: Any, rows: Iterator[tuple[list[str], Place]]) -> None:
        self.is_jsonl, self.delimiter, self.header_line = False, "\t", 1
        self.schema, self.header = schema, list(schema.names)
        self._rows = (Row(number, cells, place=place) for number, (cells, place) in enumerate(rows, 1))

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

    def column(self, name: str, why: str = "") -> int:
        """Return the index of a column.

        Args:
            name: as in the header; where that has none of it, its other name among `names` is looked for.
            why: who asks for it, e.g. ``task sst's text``.

        Raises:
            DataError: there is no such column, or more than one.
        """
        if name not in self.header:
            name = self.names.get(name, name)
        if self.header.count(name) == 1:
            return self.header.index(name)
        asked = f", asked for as {why}" if why else ""
        place = f"{self.name}:{self.header_line}"
        if name in self.header:
            raise DataError(f"{place}: has more than one column '{name}'{asked}; rename all but one.")
        raise DataError(
            f"{place}: has no column '{name}'{asked}{nearest(name, [c for c in self.header if c])}{self.delimiter_hint}"
        )

    def _read(self, lines: Iterator[str]) -> Iterator[Row]:
        if self.is_jsonl:
            return self._read_jsonl(lines)
        if self.quoting == "none":
            return self._read_plain(lines)
        return self._read_csv(lines)

    def _read_csv(self, lines: Iterator[str]) -> Iterator[Row]:
        # The limit of the csv module is global; a larger one harms nobody.
        csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{self.name}:{line}: {_explain_csv(str(error))}") from None
            if cells:  # a blank line holds no row
                yield Row(line, cells)

    def _read_plain(self, lines: Iterator[str]) -> Iterator[Row]:
        for number, line in enumerate(lines, 1):
            text = line.removesuffix("\n").removesuffix("\r")
            if "\r" in text:
                raise DataError(f"{self.name}:{number}: {_LONE_CR}")
            if text:
                yield Row(number, text.split(self.delimiter))

    def _read_jsonl(self, lines: Iterator[str]) -> Iterator[Row]:
        header: list[str] = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{self.name}:{number}"
            try:
                record, cells = _parsed(line)
            except UnicodeEncodeError:
                raise DataError(f"{place}: escapes one half of a surrogate pair, which is no character.") from None
            except (ValueError, RecursionError) as error:
                raise DataError(f"{place}: is not JSON ({error}).") from None
            if not cells:
                raise DataError(f"{place}: must be a JSON object with names, but is {line.strip()[:40]!r}.")
            header = header or list(cells)
            missing = next((key for key in header if key not in cells), None)
            if missing is not None:
                raise DataError(f"{place}: has no '{missing}', which the first line has.")
            yield Row(number, [cells[key] for key in header], record)


class TableWriter:
    """Writes rows back as they were read, with columns appended.

    Args:
        file: where the text goes.
        table: the table whose rows are written; gives header, delimiter and quoting.
        appended: names of the appended columns.
        kept: names of the table's columns that are written, in order; by default all.

    Raises:
        DataError: there is no such column.
    """

    def __init__(self, file: TextSink, table: Table, appended: list[str], kept: Sequence[str] | None = None) -> None:
        self._file = file
        self._table = table
        self._appended = appended
        self._kept = None if kept is None else [table.column(name, "one to keep") for name in kept]
        self._csv = csv.writer(file, delimiter=table.delimiter, lineterminator="\n")

    def write_header(self) -> None:
        """Write the header; a JSONL file has none."""
        if not self._table.is_jsonl:
            self._write_cells([*self._chosen(self._table.header), *self._appended])

    def write(self, row: Row, values: list[str | float]) -> None:
        """Write a row.

        Args:
            row: as read.
            values: one for each appended column.

        Raises:
            DataError: an object of a JSONL file has a name already that is to be appended.
        """
        if row.record is not None:
            kept = row.record
            if self._kept is not None:
                kept = {name: kept[name] for name in self._chosen(self._table.header)}
            taken = next((name for name in self._appended if name in kept), None)
            if taken is not None:
                place = f"{self._table.name}:{row.line}"
                raise DataError(f"{place}: has a '{taken}' already, as the prediction would; rename it.")
            record = {**kept, **dict(zip(self._appended, values, strict=True))}
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            self._write_cells([*self._chosen(row.cells), *(as_cell(value) for value in values)])

    def _chosen(self, cells: list[str]) -> list[str]:
        return cells if self._kept is None else [cells[column] for column in self._kept]

    def _write_cells(self, cells: list[str]) -> None:
        if self._table.quoting == "none":
            self._file.write(self._table.delimiter.join(cells) + "\n")
        else:
            self._csv.writerow(cells)


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


def as_cell(value: str | float) -> str:
    """Return a predicted value as text: numbers with six significant digits."""
    return value if isinstance(value, str) else f"{value:.6g}"


def _parsed(line: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a line's object, and its values as text; nothing where it is something else.

    Raises:
        UnicodeEncodeError: it holds half of a surrogate pair, which only an escape can say.
        ValueError, RecursionError: it is not JSON, or too deep.
    """
    record = json.loads(line, object_pairs_hook=_object)
    if not isinstance(record, dict):
        return {}, {}
    cells = {key: as_text(value) for key, value in record.items()}
    if "\\u" in line:
        "".join((*cells, *cells.values())).encode()
    return record, cells


def _is_json_array(line: str) -> bool:
    text = line.strip()
    # A header may begin with a bracket, too: [text],[label].
    return text == "[" or (text.startswith("[") and text.lstrip("[ ").startswith("{"))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name '{next(name for name in names if names.count(name) > 1)}' stands twice")
    return found


NO_QUOTES = "--quoting none (in a recipe's task: quoting: none)"
"""What makes quotes plain text, for messages: the flag, and the setting."""
_CLOSE_QUOTE = f"Close it, or read the file with {NO_QUOTES}."
_LONE_CR = "a carriage return stands alone; end lines with \\n or \\r\\n."


def _explain_csv(message: str) -> str:
    if "field larger" in message:
        return f"a cell is longer than {_MAX_CELL >> 20} Mi characters; is a quote open? {_CLOSE_QUOTE}"
    if "unexpected end of data" in message:
        return f"a quote opens here and is never closed. {_CLOSE_QUOTE}"
    if "expected after" in message:
        return f"text follows a closing quote; double quotes inside a quoted cell, or read the file with {NO_QUOTES}."
    if "new-line character" in message:
        return _LONE_CR
    return f"is not well-formed CSV ({message})."
