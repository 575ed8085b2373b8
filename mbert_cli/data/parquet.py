"""Reads Parquet files as rows of text; needs the extra [parquet]."""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mbert_cli.errors import DataError

_AT_ONCE = 4096  # rows
_BUFFER = 1 << 20  # bytes of each column

Place = tuple[Any, int]
"""An Arrow record batch, and the index of a row in it."""


def open_parquet(file: io.BufferedIOBase | Path, name: str) -> "ParquetFile":
    """Open a Parquet file.

    Args:
        file: a Parquet file: a path, or an open file.
        name: name of the file, for messages.

    Raises:
        DataError: the file cannot be read, or pyarrow is not installed.
    """
    if file is sys.stdin.buffer:
        raise DataError(f"{name}: is Parquet, which can only be read from a file; name the file.")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{name}: is Parquet, which needs pyarrow; pip install 'mbert-cli[parquet]'.") from None
    try:
        # Otherwise a whole row group would be in memory, and many files have only one.
        source = pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({_first_line(error)}).") from None
    return ParquetFile(source, name)


class ParquetFile:
    """An open Parquet file. Rows are read in batches.

    Args:
        source: pyarrow's object for the file.
        name: name of the file, for messages.
    """

    def __init__(self, source: Any, name: str) -> None:
        self._source, self._name = source, name
        self.schema = source.schema_arrow
        self.row_count: int = source.metadata.num_rows

    def rows(self, first: int = 0) -> Iterator[tuple[list[str], Place]]:
        """Yield the cells of each row, and its place in a record batch.

        Each value becomes a text: numbers, lists and other nested values as JSON, dates and decimals as Arrow formats
        them, null as an empty cell.

        Args:
            first: number of rows to skip. Row groups before them are not read.

        Raises:
            DataError: the file cannot be read.
        """
        import pyarrow

        groups, sizes = self._source.num_row_groups, self._source.metadata.row_group
        group = 0
        while group < groups and first >= sizes(group).num_rows:
            first -= sizes(group).num_rows
            group += 1
        try:
            for batch in self._source.iter_batches(_AT_ONCE, row_groups=list(range(group, groups))):
                skipped, first = min(first, len(batch)), max(0, first - len(batch))
                if skipped == len(batch):
                    continue
                own = batch.slice(skipped)
                columns = [_texts(column) for column in own.columns]
                for index, cells in enumerate(zip(*columns, strict=True)):
                    yield list(cells), (own, index)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{self._name}: cannot be read as Parquet ({_first_line(error)}).") from None


def rows_of_files(files: Sequence[Path], name: str) -> tuple[Any, Iterator[tuple[list[str], Place]]]:
    """Return the schema and the rows of several files that are parts of one table; see `ParquetFile`.

    Args:
        files: the parts, in order.
        name: name of the table, for messages.

    Raises:
        DataError: a file cannot be read, the files have different columns, or pyarrow is not installed.
    """
    first = open_parquet(files[0], name)

    def rows() -> Iterator[tuple[list[str], Place]]:
        yield from first.rows()
        for path in files[1:]:
            other = open_parquet(path, name)
            if other.schema.names != first.schema.names:
                raise DataError(f"{name}: {path.name} has other columns than {files[0].name}.")
            yield from other.rows()

    return first.schema, rows()


def _texts(column: Any) -> list[str]:
    from pyarrow import types

    # Arrow converts to text, because Python has no nanoseconds.
    if types.is_temporal(column.type) or types.is_decimal(column.type):
        column = column.cast("string")
    return [as_text(value) for value in column.to_pylist()]


def is_written_as_json(place: Place, column: int) -> bool:
    """Whether a cell is JSON, or empty for null. Numbers, true and false, and nested values are JSON."""
    from pyarrow import types

    batch, index = place
    own = batch.schema.field(column).type
    is_text = types.is_string(own) or types.is_large_string(own) or types.is_binary(own) or types.is_large_binary(own)
    if not batch.column(column)[index].is_valid:
        return True
    return not (is_text or types.is_temporal(own) or types.is_decimal(own) or types.is_dictionary(own))


def kind_of_parquet(place: Place, column: int, cell: str) -> str:
    """Return `null`, `a list` and so on for a value that is neither a text nor a number; otherwise "".

    Args:
        place: place of the row.
        column: index of the column.
        cell: the value as a cell; only an empty cell can be null.
    """
    from pyarrow import types

    batch, index = place
    own = batch.schema.field(column).type
    if not cell and not batch.column(column)[index].is_valid:
        return "null"
    if types.is_boolean(own):
        return "true or false"
    if types.is_struct(own) or types.is_map(own):
        return "an object"
    return "a list" if types.is_nested(own) else ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def as_text(value: Any) -> str:
    """Return a value as a cell: a text unchanged, None as an empty cell, and any other value as JSON."""
    if value is None:
        return ""
    if isinstance(value, bytes):  # some writers do not mark texts as text
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
