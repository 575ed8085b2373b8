"""Dropout with masks that are fast on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_LEVELS = 1 << 16


def dropout(x: Float[Tensor, "..."], p: float) -> Float[Tensor, "..."]:
    """Zero each value with probability `p`, and divide the others by 1 - p.

    On a CPU, PyTorch draws one number per value on one thread, which takes a fifth of a training step. Here one 64-bit
    number serves four values. `p` is rounded to a multiple of 2^-16, in the divisor too, so the mean is preserved.

    Args:
        x: a tensor of any shape.
        p: a probability; with 0 the function returns x itself.
    """
    if p == 0:
        return x
    if x.device.type != "cpu":
        return nn.functional.dropout(x, p)
    dropped = round(p * _LEVELS)
    if dropped >= _LEVELS:
        return x * 0
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - _LEVELS // 2
    return x * kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))


class Dropout(nn.Module):
    """`dropout` in training, the identity in evaluation.

    Args:
        p: probability of dropping a value.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Apply dropout in training; otherwise return x."""
        return dropout(x, self.p) if self.training else x
