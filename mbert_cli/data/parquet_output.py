"""Rows as a Parquet file, in which columns keep their types; needs the extra [parquet]."""

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
"""What appended columns hold, by their names."""


def is_parquet(path: Path) -> bool:
    """Whether an output is to be Parquet, by its name."""
    return path.suffix.lower() == ".parquet"


def check_pyarrow(path: Path) -> None:
    """Check that Parquet can be written.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError(f"{path}: Parquet is written with pyarrow; pip install 'mbert-cli[parquet]'.") from None


class _File(io.RawIOBase):
    """A file as pyarrow asks for one."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._take = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._take(bytes(data))
        return len(data)


class ParquetSink:
    """A Parquet file that is being written, a group of rows at a time. It cannot be gone on with: its end is its index.

    Args:
        write: takes its bytes.
    """

    finished = False

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.rows = 0
        self._file = _File(write)
        self._pending: list[tuple[Row, list[str | float]]] = []
        self._writer: Any = None

    def begin(self, table: Table, appended: Types, kept: Sequence[str] | None = None) -> "ParquetSink":
        """Begin the file; return what rows are written to.

        Args:
            table: the table whose rows are written. Columns of Parquet keep their types; others are text.
            appended: the appended columns.
            kept: names of the table's columns that are written, in order; by default all.

        Raises:
            DataError: there is no such column.
        """
        import pyarrow
        import pyarrow.parquet

        self._table, self._keeps_all = table, kept is None
        self._columns = (
            list(range(len(table.header)))
            if kept is None
            else [table.column(name, "one to keep", required=False) for name in kept]
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
        """Do nothing: the names stand at the end of the file."""

    def write(self, row: Row, values: list[str | float]) -> None:
        """Write a row, at the next `commit`.

        Args:
            row: as read.
            values: one for each appended column.

        Raises:
            DataError: an object of a JSONL file has a name that the header lacks.
        """
        if self._keeps_all:
            check_names(self._table, row)
        self._pending.append((row, values))

    def commit(self, rows: int) -> None:
        """Write what was not yet written of so many rows, as a group."""
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
        """Yield a column of the rows to be written: of Parquet, slices of what was read."""
        import pyarrow

        if self._pending[0][0].place is None:
            yield pyarrow.array([row.cells[column] for row, _ in self._pending], "string")
            return
        places = (row.place for row, _ in self._pending if row.place is not None)
        for _, group in groupby(places, key=lambda place: id(place[0])):
            (batch, first), *others = group
            yield batch.column(column).slice(first, 1 + len(others))

    def close(self) -> None:
        """End the file, if it was begun."""
        if self._writer is not None:
            self._writer.close()
