"""Products in int8 without the operations between them."""

from functools import partial

import numpy as np
import torch
from numba import prange

from mbert_cli.encoder.kernels import int8_tile
from mbert_cli.encoder.kernels.compiling import compiled
from mbert_cli.encoder.kernels.int8_block_loops import multiply_block
from mbert_cli.encoder.kernels.int8_tile import BLOCK, PREPARED, prepared_size


@compiled
def _in_blocks(x8, rows, size, weights, columns):
    for block in prange((rows + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        prepared = np.empty(prepared_size(BLOCK, size), PREPARED)
        z = np.empty(BLOCK * columns, np.int32)
        multiply_block(x8, first, min(BLOCK, rows - first), size, weights, columns, prepared, z)


def product(x, weight):
    """Return a function that multiplies x, ``[rows, in]``, by a weight, ``[out, in]``, as predictions in int8 do."""
    if not int8_tile.IS_SUPPORTED:
        return partial(torch._int_mm, x, weight.t())
    columns = -(-len(weight) // int8_tile.PANEL) * int8_tile.PANEL
    return partial(_in_blocks, x.numpy().ravel(), len(x), x.shape[1], int8_tile.packed(weight), columns)
