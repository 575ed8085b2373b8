"""Parquet files as rows of text; needs the extra [parquet]."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mbert_cli.errors import DataError, UsageError

_AT_ONCE = 4096  # rows


def parquet_rows(file: io.BufferedIOBase, name: str) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names of the columns, and the rows, read piece by piece.

    Numbers are written as JSON has them, null as an empty cell, and so are lists and other nested values.

    Args:
        file: of the format.
        name: of it, for messages.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: it cannot be read.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{name}: is Parquet, which is read with pyarrow; pip install 'mbert-cli[parquet]'.") from None
    try:
        source = pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({_first_line(error)}).") from None
    return list(source.schema_arrow.names), _rows(source, name)


def rows_of_files(files: Sequence[Path], name: str) -> tuple[list[str], Iterator[list[str]]]:
    """Return the same of several files that hold parts of one table.

    Args:
        files: of the same columns.
        name: of the table, for messages.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: one cannot be read, or has other columns than the first.
    """
    header, first = _opened(files[0], name)

    def rest() -> Iterator[list[str]]:
        yield from first
        for path in files[1:]:
            names, rows = _opened(path, name)
            if names != header:
                raise DataError(f"{name}: {path.name} has other columns than {files[0].name}.")
            yield from rows

    return header, rest()


def _opened(path: Path, name: str) -> tuple[list[str], Iterator[list[str]]]:
    return parquet_rows(io.BytesIO(path.read_bytes()), name)


def _rows(source: Any, name: str) -> Iterator[list[str]]:
    import pyarrow

    try:
        for batch in source.iter_batches(_AT_ONCE):
            columns = [[as_text(value) for value in column.to_pylist()] for column in batch.columns]
            yield from map(list, zip(*columns, strict=True))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({_first_line(error)}).") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def as_text(value: Any) -> str:
    """Return a value as the cell of a table: text as it is, nothing for None, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
