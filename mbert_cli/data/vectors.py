"""Writes vectors to a file row by row: a NumPy file, or a Parquet file with the columns of the input."""

import io
from collections.abc import Callable, Sequence
from typing import IO, Protocol, runtime_checkable

import numpy as np

from mbert_cli.data.parquet_output import WriteOnlyFile
from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import check_names
from mbert_cli.errors import DataError

NUMPY_HEADER = 128
"""Bytes of the header in NumPy's format, for any number of rows."""
EMBEDDING = "embedding"
"""The column of vectors in a Parquet file."""


@runtime_checkable
class VectorFile(Protocol):
    """An open file of vectors."""

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Write rows of the input and their vectors, float32, shape ``[rows, hidden]``."""

    def close(self) -> None:
        """Write the header or the index, which is known only at the end."""


def numpy_header(rows: int, hidden: int) -> bytes:
    """Return the header of a .npy file of float32, shape ``[rows, hidden]``."""
    header = io.BytesIO()
    values = {"descr": "<f4", "fortran_order": False, "shape": (rows, hidden)}
    np.lib.format.write_array_header_1_0(header, values)
    assert header.tell() == NUMPY_HEADER
    return header.getvalue()


def numpy_hidden(header: bytes) -> int:
    """Return the number of values in a vector from the header of a .npy file."""
    file = io.BytesIO(header)
    np.lib.format.read_magic(file)
    (_, hidden), _, _ = np.lib.format.read_array_header_1_0(file)
    return int(hidden)


class NumpyVectors:
    """A .npy file of float32, shape ``[rows, hidden]``.

    Args:
        file: a seekable file.
        hidden: number of values in a vector.
    """

    def __init__(self, file: IO[bytes], hidden: int) -> None:
        self._file, self._hidden, self._rows = file, hidden, 0
        file.write(bytes(NUMPY_HEADER))

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Append vectors."""
        self._file.write(vector_bytes(vectors))
        self._rows += len(rows)

    def close(self) -> None:
        """Write the header, which contains the number of rows."""
        self._file.seek(0)
        self._file.write(numpy_header(self._rows, self._hidden))
        self._file.seek(0, 2)


class NumpyRows:
    """The vectors of a .npy file, below a header that was written before.

    Args:
        write: receives the bytes.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Append vectors."""
        self._write(vector_bytes(vectors))

    def close(self) -> None:
        """Do nothing: the header contains the number of rows already."""


def vector_bytes(vectors: np.ndarray) -> bytes:
    """Return vectors as they are stored in a .npy file."""
    return np.ascontiguousarray(vectors, dtype="<f4").tobytes()


class ParquetVectors:
    """A Parquet file: the input's columns as text, and a column `embedding` of lists of equal length.

    Args:
        file: the file to write; see `WriteOnlyFile` for a function.
        table: the input.
        hidden: number of values in a vector.

    Raises:
        DataError: the input already has a column `embedding`, or two columns with the same name.
    """

    def __init__(self, file: IO[bytes] | WriteOnlyFile, table: Table, hidden: int) -> None:
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
