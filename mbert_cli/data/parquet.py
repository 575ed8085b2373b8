"""Parquet files as rows of text, and rows as Parquet files; needs the extra [parquet]."""

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
"""A record batch of Arrow's, and the index of a row in it."""


def parquet_rows(file: io.BufferedIOBase | Path, name: str) -> tuple[Any, Iterator[tuple[list[str], Place]]]:
    """Return the schema, and the rows, read piece by piece.

    Numbers are written as JSON has them, null as an empty cell, and so are lists and other nested values; dates and
    decimals as Arrow writes them.

    Args:
        file: of the format, open or not.
        name: of it, for messages.

    Raises:
        DataError: it cannot be read, or pyarrow is not installed.
    """
    if file is sys.stdin.buffer:
        raise DataError(f"{name}: is Parquet, which can be read from a file only; name the file.")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{name}: is Parquet, which is read with pyarrow; pip install 'mbert-cli[parquet]'.") from None
    try:
        # Otherwise a group of rows would be in memory as a whole, and a file often is one group.
        source = pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({_first_line(error)}).") from None
    return source.schema_arrow, _rows(source, name)


def rows_of_files(files: Sequence[Path], name: str) -> tuple[Any, Iterator[tuple[list[str], Place]]]:
    """Return the same of several files that hold parts of one table.

    Args:
        files: of the same columns.
        name: of the table, for messages.

    Raises:
        DataError: one cannot be read, or has other columns than the first; or pyarrow is not installed.
    """
    schema, first = parquet_rows(files[0], name)

    def rows() -> Iterator[tuple[list[str], Place]]:
        yield from first
        for path in files[1:]:
            other, more = parquet_rows(path, name)
            if other.names != schema.names:
                raise DataError(f"{name}: {path.name} has other columns than {files[0].name}.")
            yield from more

    return schema, rows()


def _rows(source: Any, name: str) -> Iterator[tuple[list[str], Place]]:
    import pyarrow

    try:
        for batch in source.iter_batches(_AT_ONCE):
            columns = [_texts(column) for column in batch.columns]
            for index, cells in enumerate(zip(*columns, strict=True)):
                yield list(cells), (batch, index)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({_first_line(error)}).") from None


def _texts(column: Any) -> list[str]:
    from pyarrow import types

    # As text right away: Python has no nanoseconds.
    if types.is_temporal(column.type) or types.is_decimal(column.type):
        column = column.cast("string")
    return [as_text(value) for value in column.to_pylist()]


def is_written_as_json(place: Place, column: int) -> bool:
    """Whether the cell of a row's column is JSON, or empty for null: of numbers, true and false, and nested values."""
    from pyarrow import types

    batch, index = place
    own = batch.schema.field(column).type
    is_text = types.is_string(own) or types.is_large_string(own) or types.is_binary(own) or types.is_large_binary(own)
    if not batch.column(column)[index].is_valid:
        return True
    return not (is_text or types.is_temporal(own) or types.is_decimal(own) or types.is_dictionary(own))


def kind_of_parquet(place: Place, column: int, cell: str) -> str:
    """Return `null`, `a list` and so on for a value that is not a text or a number; otherwise nothing.

    Args:
        place: of its row.
        column: of the value.
        cell: the value as a cell: only an empty one may be null.
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
    """Return a value as the cell of a table: text as it is, nothing for None, anything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, bytes):  # some writers do not say that theirs are text
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
