"""The transpose of a bf16 matrix, and its values in fp32."""

from typing import no_type_check

from numba import prange

from mbert_cli.encoder.kernels.compiling import compiled
from mbert_cli.encoder.kernels.lanes import WIDTH, load, store, transpose

COLUMNS = 2 * WIDTH
"""If the result of a product is transposed too, the columns of both matrices must be a multiple of this number."""


@compiled
@no_type_check
def turn(x, columns, chunks, out):
    """Write the transpose of a matrix.

    Args:
        x: [rows * columns], bf16.
        columns: number of columns, a multiple of 16.
        chunks: number of parts that the columns are split into.
        out: [columns * rows], bf16 or fp32; for fp32, rows must be a multiple of 32.
    """
    rows = len(x) // columns
    blocks = columns // WIDTH
    whole = rows - rows % (2 * WIDTH)
    for chunk in prange(chunks):
        first, last = chunk * blocks // chunks * WIDTH, (chunk + 1) * blocks // chunks * WIDTH
        # Two adjacent tiles fill the cache lines that they are written to.
        for row in range(0, whole, 2 * WIDTH):
            for column in range(first, last, WIDTH):
                transpose(x, row * columns + column, columns, out, column * rows + row, rows)
                transpose(x, (row + WIDTH) * columns + column, columns, out, column * rows + row + WIDTH, rows)
        for column in range(first, last):
            for row in range(whole, rows):
                out[column * rows + row] = x[row * columns + column]


@compiled
@no_type_check
def widen(x, chunks, out):
    """Write the values of x.

    Args:
        x: bf16; its size is a multiple of 16.
        chunks: number of parts that x is split into.
        out: as many values, fp32.
    """
    blocks = len(x) // WIDTH
    for chunk in prange(chunks):
        for place in range(chunk * blocks // chunks * WIDTH, (chunk + 1) * blocks // chunks * WIDTH, WIDTH):
            store(out, place, load(x, place))
