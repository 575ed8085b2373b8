"""The gradient of a linear layer's weight in bf16 on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.encoder.kernels import product
from mbert_cli.encoder.kernels.memory import empty_gradient, empty_rows
from mbert_cli.encoder.kernels.turning_loops import COLUMNS, turn
from mbert_cli.encoder.kernels.views import CHUNKS, fits, flat

_LEAST = 128  # features of the narrower side from which on it is worth its time


def weight_gradient(
    dy: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], dtype: torch.dtype
) -> Float[Tensor, "out in"]:
    """Return dy^T x, computed in their precision, in that of the weight.

    A product whose left matrix lies across the memory takes twice the time in bf16: the library turns it piece by
    piece. So the narrower of the two matrices is turned before, and the result where it must be.
    """
    wide, narrow = (x, dy) if dy.shape[1] <= x.shape[1] else (dy, x)
    features = narrow.shape[1]
    whole = all(each.shape[1] % COLUMNS == 0 for each in (dy, x))
    if dy.dtype != torch.bfloat16 or dtype != torch.float32 or not fits(dy, x) or features < _LEAST or not whole:
        return product.weight_gradient(dy, x, dtype)
    turned = empty_rows(narrow).view(features, -1)
    turn(flat(narrow.contiguous()), features, CHUNKS, flat(turned))
    found = torch.mm(turned, wide, out=empty_gradient(x, (features, wide.shape[1]), x.dtype))
    gradient = empty_gradient(x, (dy.shape[1], x.shape[1]), dtype)
    if narrow is dy:
        return gradient.copy_(found)
    turn(flat(found), found.shape[1], CHUNKS, flat(gradient))
    return gradient
