"""Tables: TSV, CSV, JSONL and Parquet files as a header and a stream of rows with line numbers."""

import io
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.hub import PREFIX, dataset_files
from mbert_cli.data.label_text import as_number
from mbert_cli.data.parquet import kind_of_parquet, open_parquet, rows_of_files
from mbert_cli.data.problem import Problem
from mbert_cli.data.row import Row
from mbert_cli.data.source import Kind, Lines, open_source
from mbert_cli.data.table_body import TableBody, parquet_body, parts_body, text_body
from mbert_cli.errors import DataError
from mbert_cli.messages import nearest
from mbert_cli.storage.local_copies import local_copy
from mbert_cli.storage.remote import is_url

_SENTENCE = 5  # words; names of columns have fewer
_KINDS = {type(None): "null", bool: "true or false", list: "a list", dict: "an object"}
A_LIST = _KINDS[list]
"""Kind of a value that is a list; see `kind_of_value`."""

NESTED = (A_LIST, _KINDS[dict])
"""Kinds of values that contain other values; see `kind_of_value`."""


class Table:
    """An open table: a header, then its rows, which can be read once. A context manager.

    Args:
        path: the file; `-` is standard input. The file of a URL is copied to this machine; see `local_copy`. Gzip and
            Parquet files are recognised by their first bytes; for JSON Lines see `text_body`.
        quoting: `csv`: cells may be quoted as in RFC 4180. `none`: a quote is an ordinary character. `auto`: as `csv`,
            but quotes that seem to join rows are an error; see `CsvRows`.
        delimiter: `auto` is the first of tab, comma and semicolon in the header; a tab if it has none of them.
        names: alternative names of columns: the name that callers use, mapped to the name in this file.

    Raises:
        DataError: the file cannot be read, is empty, or is not a table; with the line.
    """

    def __init__(
        self,
        path: str,
        quoting: Quoting = "auto",
        delimiter: Delimiter = "auto",
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        is_hub = path.startswith(PREFIX)
        self.name = "standard input" if path == "-" else path
        own = str(local_copy(path)) if is_url(path) else path
        self.path = None if path == "-" or is_hub else Path(own)
        self.quoting: Quoting = quoting
        self.names = names
        self._required: set[str] = set()  # columns that each object of a JSONL file must have
        self._texts: set[int] = set()  # columns of texts
        self._file, self._kind = (io.BytesIO(), "parquet") if is_hub else open_source(own)
        try:
            self._body = _body(own, self.name, self._file, self._kind, quoting, delimiter)
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
        """Yield all rows; the `problem` of a bad row is why it cannot be used."""
        for row in self._body.rows:
            problem = self._problem(row)
            yield row if problem == row.problem else Row(row.line, problem=problem)

    def skip(self, most: int) -> int:
        """Skip rows, good or bad; return their number. Rows without quotes are not parsed, see `SkippableRows`."""
        return self._body.rows.skip(most)

    def _problem(self, row: Row) -> Problem | None:
        """Return why a row cannot be used; None if it can."""
        if row.problem:
            has_wrong_width = len(row.cells) not in (0, len(self.header))
            return _with_hint(row.problem, self.delimiter_hint) if has_wrong_width else row.problem
        if row.record is not None:
            missing = next((name for name in self._required if name not in row.record), None)
            if missing is not None:
                return Problem(f"no '{missing}'")
        return _problem_of_texts(row, self._texts, self.header)

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return self._body.header

    @property
    def header_line(self) -> int:
        """Line of the header in the file, from 1."""
        return self._body.header_line

    @property
    def is_jsonl(self) -> bool:
        """Whether the file is JSON Lines."""
        return self._body.is_jsonl

    @property
    def delimiter(self) -> str:
        """The character between cells of a text table."""
        return self._body.delimiter

    @property
    def delimiter_hint(self) -> str:
        """A hint that the delimiter may be another one, as the end of a message; often empty."""
        return self._body.delimiter_hint

    @property
    def schema(self) -> Any:
        """The Arrow schema of a Parquet file; None for other formats."""
        return self._body.schema

    @property
    def warnings(self) -> list[str]:
        """Warnings about the rows that were read so far, one sentence each."""
        quoted = self._body.quoted
        return [] if quoted is None else [f"{self.name}: {each}." for each in quoted.warnings]

    @property
    def description(self) -> str:
        """The format and the columns of the file, for people."""
        compressed = ", gzip" if self._kind == "gzip" else ""
        return f"{self.name}: {self._body.format}{compressed}; columns {', '.join(self.header)}"

    def has(self, name: str) -> bool:
        """Whether the file has a column, under its name or its alternative name."""
        return name in self.header or self.names.get(name) in self.header

    def column(self, name: str, why: str = "", required: bool = True) -> int:
        """Return the index of a column.

        Args:
            name: name in the header. If the header lacks it, the alternative name in `names` is used.
            why: what the column is used for, e.g. ``text of task sst``; for messages.
            required: an object of a JSONL file without this name is a bad row; otherwise its cell is empty.

        Raises:
            DataError: the file has no such column, or more than one.
        """
        if name not in self.header:
            name = self.names.get(name, name)
        use = f", needed as {why}" if why else ""
        place = f"{self.name}:{self.header_line}"
        count = self.header.count(name)
        if count > 1:
            raise DataError(f"{place}: has more than one column '{name}'{use}; rename all but one.")
        if not count:
            known = nearest(name, [each for each in self.header if each])
            raise DataError(f"{place}: has no column '{name}'{use}{known}{header_hint(self)}")
        if required:
            self._required.add(name)
        return self.header.index(name)

    def text_column(self, name: str, why: str = "") -> int:
        """Return the index of a column of texts; a row whose value there is not a text is bad. See `column`."""
        index = self.column(name, why)
        self._texts.add(index)
        return index


def header_hint(table: Table) -> str:
    """Return a hint why the header of a table may lack a column, as the end of a message; often empty."""
    if table.delimiter_hint or not any(is_data(name) for name in table.header):
        return table.delimiter_hint
    return " The first line looks like data; if the file has no header, add a line with the names of its columns."


def is_data(name: str) -> bool:
    """Whether the name of a column looks like data: a number, or a sentence."""
    return math.isfinite(as_number(name)) or len(name.split()) >= _SENTENCE


def _body(
    path: str, name: str, file: io.BufferedIOBase, kind: Kind, quoting: Quoting, delimiter: Delimiter
) -> TableBody:
    if path.startswith(PREFIX):
        return parts_body(*rows_of_files(dataset_files(path), path))
    if kind == "parquet":
        return parquet_body(open_parquet(file, name))
    return text_body(path, name, Lines(file, name), quoting, delimiter)


def _with_hint(problem: Problem, hint: str) -> Problem:
    """Return a problem with a sentence after its last remedy; the sentence may be empty."""
    *others, last = problem.remedies
    return replace(problem, remedies=(*others, f"{last}.{hint}".removesuffix(".")))


def _problem_of_texts(row: Row, columns: Iterable[int], header: Sequence[str]) -> Problem | None:
    """Return the problem of the first column whose value is not a text; None if there is none."""
    for column in columns:
        kind = kind_of_value(row, column, header[column])
        if kind:
            return Problem(f"'{header[column]}' must be a text, but is {kind}")
    return None


def kind_of_value(row: Row, column: int, name: str) -> str:
    """Return `null`, `a list` and so on for a value that is neither a text nor a number in its file; otherwise ""."""
    if row.record is not None:
        value = row.record.get(name, "")
        return "" if isinstance(value, str) else _KINDS[type(value)]
    return "" if row.place is None else kind_of_parquet(row.place, column, row.cells[column])
