"""Writes rows to a Parquet file, in which columns keep their types; needs the extra [parquet]."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import check_names
from mbert_cli.errors import UsageError

Types = Mapping[str, Literal["text", "number"]]
"""The type of each appended column, by name."""


def is_parquet(path: Path) -> bool:
    """Whether the name of an output asks for Parquet."""
    return path.suffix.lower() == ".parquet"


def check_pyarrow(path: Path) -> None:
    """Check that pyarrow is installed.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError(f"{path}: Parquet is written with pyarrow; pip install 'mbert-cli[parquet]'.") from None


class WriteOnlyFile(io.RawIOBase):
    """A file object for pyarrow that calls a function for each write."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._take = write

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Call the function with bytes; return their number."""
        self._take(bytes(data))
        return len(data)


class ParquetSink:
    """Writes a Parquet file one row group at a time.

    An interrupted file cannot be resumed, because a Parquet file ends with its index.

    Args:
        write: receives the bytes of the file.
    """

    finished = False

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.rows = 0
        self._file = WriteOnlyFile(write)
        self._pending: list[tuple[Row, list[str | float]]] = []
        self._writer: Any = None

    def begin(self, table: Table, appended: Types, kept: Sequence[str] | None = None) -> "ParquetSink":
        """Begin the file, and return this object.

        Args:
            table: the table whose rows are written. Columns of a Parquet input keep their types; others are text.
            appended: types of the appended columns.
            kept: names of the table's columns to write, in order; by default all.

        Raises:
            DataError: the table has no such column.
        """
        import pyarrow
        import pyarrow.parquet

        self._table, self._keeps_all = table, kept is None
        self._columns = (
            list(range(len(table.header)))
            if kept is None
            else [table.column(name, "column to keep", required=False) for name in kept]
        )
        own = [
            table.schema.field(column) if table.schema is not None else pyarrow.field(table.header[column], "string")
            for column in self._columns
        ]
        new = [pyarrow.field(name, "string" if type_ == "text" else "float64") for name, type_ in appended.items()]
        self._schema = pyarrow.schema([*own, *new])
        self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema)
        return self

    def write_header(self) -> None:
        """Do nothing: a Parquet file has its names at the end."""

    def write(self, row: Row, values: list[str | float]) -> None:
        """Add a row to the next `commit`.

        Args:
            row: a row of the table.
            values: one value for each appended column.

        Raises:
            DataError: an object of a JSONL file has a name that the header lacks.
        """
        if self._keeps_all:
            check_names(self._table, row)
        self._pending.append((row, values))

    def commit(self, rows: int) -> None:
        """Write the rows that were added since the last commit as one row group; `rows` is the total number of rows."""
        import pyarrow

        self.rows = rows
        if not self._pending:
            return
        own = [pyarrow.chunked_array(list(self._chunks(column))) for column in self._columns]
        new = list(map(list, zip(*(values for _, values in self._pending), strict=True)))
        arrays = [
            part if isinstance(part, pyarrow.ChunkedArray) else pyarrow.array(part, field.type)
            for part, field in zip([*own, *new], self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._pending.clear()

    def _chunks(self, column: int) -> Iterator[Any]:
        """Yield a column of the rows to write; for a Parquet input, as slices of its record batches."""
        import pyarrow

        if self._pending[0][0].place is None:
            yield pyarrow.array([row.cells[column] for row, _ in self._pending], "string")
            return
        places = (row.place for row, _ in self._pending if row.place is not None)
        for _, group in groupby(places, key=lambda place: id(place[0])):
            (batch, first), *others = group
            yield batch.column(column).slice(first, 1 + len(others))

    def close(self) -> None:
        """Finish the file, if it was begun."""
        if self._writer is not None:
            self._writer.close()
