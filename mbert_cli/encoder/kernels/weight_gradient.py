"""The gradient of a linear layer's weight in bf16 on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.encoder.kernels import product
from mbert_cli.encoder.kernels.bf16_products import mm
from mbert_cli.encoder.kernels.memory import empty_gradient, empty_rows
from mbert_cli.encoder.kernels.turning_loops import COLUMNS, turn, widen
from mbert_cli.encoder.kernels.views import CHUNKS, fits, flat

_LEAST = 128  # minimum number of features of the narrower matrix; below this a transpose does not pay off


def weight_gradient(
    dy: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], dtype: torch.dtype
) -> Float[Tensor, "out in"]:
    """Return dy^T x in the data type `dtype` of the weight, computed in the data type of dy and x.

    In bf16, a product with a transposed view as its left matrix takes twice the time: the library transposes it piece
    by piece. So the narrower of the two matrices is transposed first, and then the result if necessary.
    """
    wide, narrow = (x, dy) if dy.shape[1] <= x.shape[1] else (dy, x)
    features = narrow.shape[1]
    aligned = all(matrix.shape[1] % COLUMNS == 0 for matrix in (dy, x))
    if dy.dtype != torch.bfloat16 or dtype != torch.float32 or not fits(dy, x) or features < _LEAST or not aligned:
        return product.weight_gradient(dy, x, dtype)
    transposed = empty_rows(narrow).view(features, -1)
    turn(flat(narrow.contiguous()), features, CHUNKS, flat(transposed))
    result = mm(transposed, wide, out=empty_gradient(x, (features, wide.shape[1]), x.dtype))
    gradient = empty_gradient(x, (dy.shape[1], x.shape[1]), dtype)
    if narrow is dy:
        widen(flat(result), CHUNKS, flat(gradient))
        return gradient
    turn(flat(result), result.shape[1], CHUNKS, flat(gradient))
    return gradient
