"""One procedure: embed; the sentences of a table as vectors in a NumPy file."""

from collections.abc import Iterator
from typing import IO

import numpy as np

from mbert_cli.data.table import Table
from mbert_cli.prediction import Predictor, windows

_HEADER = 128  # bytes, which is what a header of the format takes for any number of rows


def embed_table(
    predictor: Predictor,
    table: Table,
    column: str,
    task: str | None,
    out: IO[bytes],
    normalise: bool = False,
    limit: int | None = None,
) -> Iterator[int]:
    """Write the vectors of a column's texts as a .npy file of float32, ``[rows, hidden]``; memory does not grow.

    Args:
        predictor: the model.
        table: the input.
        column: holds the texts.
        task: whose adapters act; see `Predictor.embed`.
        out: a file that can be gone back in.
        normalise: scale each vector to length 1.
        limit: how many rows at most.

    Yields:
        How many rows are written, after every few thousand.

    Raises:
        DataError: a row is malformed, or there is no such column.
        UsageError: the task must be named.
    """
    index = table.column(column, "text to embed")
    out.write(bytes(_HEADER))
    rows = 0
    hidden = predictor.saved.model.encoder.shape.hidden_size
    for window in windows(table, 0, limit):
        vectors = predictor.embed([row.cells[index] for row in window], task)
        if normalise:
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        out.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        rows += len(window)
        yield rows
    out.seek(0)
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (rows, hidden)})
    assert out.tell() == _HEADER
    out.seek(0, 2)
