"""The transpose of a matrix of bf16."""

from typing import no_type_check

from numba import prange

from mbert_cli.encoder.kernels.compiling import compiled
from mbert_cli.encoder.kernels.lanes import WIDTH, transpose

COLUMNS = 2 * WIDTH
"""What the columns of both matrices must be a multiple of where the result is turned, too."""


@compiled
@no_type_check
def turn(x, columns, chunks, out):
    """Write the transpose of a matrix.

    Args:
        x: [rows * columns], bf16.
        columns: how many there are, a multiple of 16.
        chunks: how many parts the columns are shared in.
        out: [columns * rows], bf16 or fp32; for that, rows must be a multiple of 32.
    """
    rows = len(x) // columns
    blocks = columns // WIDTH
    whole = rows - rows % (2 * WIDTH)
    for chunk in prange(chunks):
        first, last = chunk * blocks // chunks * WIDTH, (chunk + 1) * blocks // chunks * WIDTH
        # Two tiles side by side fill the cache lines that they are written to.
        for row in range(0, whole, 2 * WIDTH):
            for column in range(first, last, WIDTH):
                transpose(x, row * columns + column, columns, out, column * rows + row, rows)
                transpose(x, (row + WIDTH) * columns + column, columns, out, column * rows + row + WIDTH, rows)
        for column in range(first, last):
            for row in range(whole, rows):
                out[column * rows + row] = x[row * columns + column]
