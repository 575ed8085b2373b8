"""The content of a data file, whatever its format: a header and a stream of rows."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from mbert_cli.data.csv_rows import CsvRows, Quoting, plain_rows
from mbert_cli.data.delimiter import DELIMITERS, Delimiter, delimiter_hint, guess_delimiter, outside_quotes
from mbert_cli.data.json_rows import JsonRow, json_rows, with_header
from mbert_cli.data.parquet import ParquetFile, Place
from mbert_cli.data.row import Row
from mbert_cli.data.skippable_rows import (
    ParquetRows,
    ParsedRows,
    SkippableRows,
    TextRows,
    delimited_rows_in,
    json_rows_in,
)
from mbert_cli.data.source import BadLine, Lines
from mbert_cli.errors import DataError

_MOST_BAD_LINES = 1000  # above the first readable line
_EXCEL = re.compile(r'"?sep=."?')
_FORMATS = {"\t": "TSV", ",": "CSV", ";": "CSV with semicolons", "|": "columns separated by pipes"}


@dataclass(frozen=True)
class TableBody:
    """A header and the rows below it.

    Args:
        format: name of the format, for messages.
        header: names of the columns.
        rows: an iterator over the rows; it can be used only once.
        header_line: line of the header in the file, from 1.
        is_jsonl: the file is JSON Lines.
        delimiter: the character between cells of a text table.
        delimiter_hint: see `delimiter_hint`.
        schema: the Arrow schema of a Parquet file.
        quoted: the reader of a table with quotes; it collects warnings while rows are read.
    """

    format: str
    header: list[str]
    rows: SkippableRows
    header_line: int = 1
    is_jsonl: bool = False
    delimiter: str = "\t"
    delimiter_hint: str = ""
    schema: Any = None
    quoted: CsvRows | None = None


def parquet_body(file: ParquetFile) -> TableBody:
    """Return the content of a Parquet file; the line of a row is its number."""
    return TableBody("Parquet", list(file.schema.names), ParquetRows(file), schema=file.schema)


def parts_body(schema: Any, rows: Iterator[tuple[list[str], Place]]) -> TableBody:
    """Return the content of several Parquet files that are parts of one table.

    Args:
        schema: the Arrow schema of the files.
        rows: the cells of each row, and its place in a record batch.
    """
    numbered = (Row(number, cells, place=place) for number, (cells, place) in enumerate(rows, 1))
    return TableBody("Parquet", list(schema.names), ParsedRows(numbered), schema=schema)


def text_body(path: str, name: str, lines: Lines, quoting: Quoting, delimiter: Delimiter) -> TableBody:
    """Return the content of a text file: JSON Lines, or rows between delimiters.

    A file is JSON Lines if its name ends in `.jsonl`, or if it begins with a brace and is not named `.tsv` or `.csv`.

    Args:
        path: the file.
        name: the file, for messages.
        lines: all of its lines.
        quoting: see `Table`.
        delimiter: see `Table`.

    Raises:
        DataError: the file is empty, its header cannot be read, or it is one JSON document.
    """
    head, first = _head(lines, name)
    plain_path = path.removesuffix(".gz")
    # The header of a .tsv or .csv file may begin with a brace too.
    may_be_json = not plain_path.endswith((".tsv", ".csv"))
    if may_be_json:
        _check_one_object_a_line(first, f"{name}:{len(head)}")
    if plain_path.endswith(".jsonl") or (may_be_json and first.lstrip().startswith("{")):
        return _jsonl_body(head, lines, name)
    _check_readable(head, name)
    if _EXCEL.fullmatch(first.strip()):
        remedy = f"remove it: `tail -n +{len(head) + 1} {shlex.quote(name)} > NEW.csv`"
        raise DataError(f"{name}:{len(head)}: is {first.strip()}, a line for Excel above the header; {remedy}.")
    return _delimited_body(first, head, lines, name, quoting, delimiter)


def _jsonl_body(head: list[str | BadLine], lines: Lines, name: str) -> TableBody:
    first, header, rows = with_header(json_rows(chain(head, lines)))
    if first.problem:
        raise DataError(f"{name}:{first.line}: {first.problem}.")

    def with_cells(rows: Iterator[JsonRow]) -> Iterator[Row]:
        for row in rows:
            cells = [row.cells.get(column, "") for column in header]
            yield Row(row.line, cells, row.record, problem=row.problem)

    own = TextRows(with_cells(rows), lines, json_rows_in, lambda line: with_cells(json_rows(lines, line)))
    return TableBody("JSONL", header, own, first.line, is_jsonl=True)


def _delimited_body(
    first: str, head: list[str | BadLine], lines: Lines, name: str, quoting: Quoting, delimiter: Delimiter
) -> TableBody:
    sign, hint = DELIMITERS.get(delimiter, ""), ""
    if delimiter == "auto":
        header = first if quoting == "none" else outside_quotes(first, head, lines)
        sign = guess_delimiter(header)
        hint = delimiter_hint(sign, header)
    quoted = None if quoting == "none" else CsvRows(chain(head, lines), sign, trusted=quoting == "csv")
    rows = plain_rows(chain(head, lines), sign) if quoted is None else iter(quoted)
    row = next(rows)
    if row.problem:
        raise DataError(f"{name}:{row.line}: {row.problem}.")
    width, last = len(row.cells), row.line

    def continue_at(line: int) -> Iterator[Row]:
        if quoted is None:
            return plain_rows(lines, sign, width, line)
        quoted.continue_at(line)
        return rows

    rows_in = delimited_rows_in(quoted is not None, width)
    own = TextRows(rows, lines, rows_in, continue_at, last, (lambda: quoted.last_line) if quoted else None)
    format_ = _FORMATS[sign] + (", quotes are text" if quoting == "none" else "")
    return TableBody(format_, row.cells, own, row.line, delimiter=sign, delimiter_hint=hint, quoted=quoted)


def _head(lines: Lines, name: str) -> tuple[list[str | BadLine], str]:
    """Return all lines up to the first one that is readable and not blank, and that line.

    Raises:
        DataError: there is no such line, or too many lines above it are not readable.
    """
    head: list[str | BadLine] = []
    bad = 0
    for line in lines:
        head.append(line)
        if isinstance(line, BadLine):
            bad += 1
        elif line.strip():
            return head, line
        if bad == _MOST_BAD_LINES:
            break
    _check_readable(head, name)
    raise DataError(f"{name}: is empty; expected a header line and rows.")


def _check_readable(head: list[str | BadLine], name: str) -> None:
    for number, line in enumerate(head, 1):
        if isinstance(line, BadLine):
            raise DataError(f"{name}:{number}: {line.problem}.")


def _check_one_object_a_line(line: str, place: str) -> None:
    """Reject a JSON document of several lines by its first line."""
    text = line.strip()
    # A header may begin with a bracket too: [text],[label].
    is_array = text == "[" or (text.startswith("[") and text.lstrip("[ ").startswith("{"))
    if is_array or text == "{":
        what = "array" if is_array else "object that spans several lines"
        raise DataError(f"{place}: starts a JSON {what}; write one object per line (JSON Lines).")
