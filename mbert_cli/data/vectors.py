"""Writes vectors to a file row by row: a NumPy file, or a Parquet file with the columns of the input."""

from collections.abc import Sequence
from typing import IO, Protocol, runtime_checkable

import numpy as np

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import check_names
from mbert_cli.errors import DataError

_HEADER = 128  # bytes of the header in NumPy's format, for any number of rows
EMBEDDING = "embedding"
"""The column of vectors in a Parquet file."""


@runtime_checkable
class VectorFile(Protocol):
    """An open file of vectors."""

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Write rows of the input and their vectors, float32, shape ``[rows, hidden]``."""

    def close(self) -> None:
        """Write the header or the index, which is known only at the end."""


class NumpyVectors:
    """A .npy file of float32, shape ``[rows, hidden]``.

    Args:
        file: a seekable file.
        hidden: number of values in a vector.
    """

    def __init__(self, file: IO[bytes], hidden: int) -> None:
        self._file, self._hidden, self._rows = file, hidden, 0
        file.write(bytes(_HEADER))

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Append vectors."""
        self._file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self._rows += len(rows)

    def close(self) -> None:
        """Write the header, which contains the number of rows."""
        self._file.seek(0)
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self._hidden)}
        np.lib.format.write_array_header_1_0(self._file, header)
        assert self._file.tell() == _HEADER
        self._file.seek(0, 2)


class ParquetVectors:
    """A Parquet file: the input's columns as text, and a column `embedding` of lists of equal length.

    Args:
        file: the file to write.
        table: the input.
        hidden: number of values in a vector.

    Raises:
        DataError: the input already has a column `embedding`, or two columns with the same name.
    """

    def __init__(self, file: IO[bytes], table: Table, hidden: int) -> None:
        import pyarrow
        import pyarrow.parquet

        names = [*table.header, EMBEDDING]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            what = "a column 'embedding' already" if twice == EMBEDDING else f"more than one column '{twice}'"
            raise DataError(f"{table.name}:{table.header_line}: has {what}; rename it.")
        self._table = table
        text = [(name, pyarrow.string()) for name in table.header]
        self._schema = pyarrow.schema([*text, (EMBEDDING, pyarrow.list_(pyarrow.float32(), hidden))])
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Append rows as one row group."""
        import pyarrow

        for row in rows:
            check_names(self._table, row)
        cells = [pyarrow.array([row.cells[at] for row in rows], "string") for at in range(len(self._schema) - 1)]
        flat = pyarrow.array(vectors.reshape(-1))
        lists = pyarrow.FixedSizeListArray.from_arrays(flat, type=self._schema.field(EMBEDDING).type)
        self._writer.write_table(pyarrow.Table.from_arrays([*cells, lists], schema=self._schema))

    def close(self) -> None:
        """Write the index of the row groups."""
        self._writer.close()
