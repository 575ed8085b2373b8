"""Tensors as the loops that Numba compiles see them."""

import numpy as np
import torch
from torch import Tensor

from mbert_cli.encoder.kernels.lanes import WIDTH

CHUNKS = 32
"""How many parts work is shared in: sums of parts do not depend on the number of threads."""

_NOTHING = np.empty(0, np.float32)


def fits(*tensors: Tensor) -> bool:
    """Whether the loops can compute with such tensors."""
    return all(
        x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.shape[-1] % WIDTH == 0 and x.numel()
        for x in tensors
    )


def flat(x: Tensor | None) -> np.ndarray:
    """Return a contiguous tensor's memory: bf16 as int16, no tensor as no numbers."""
    if x is None:
        return _NOTHING
    x = x.detach().view(-1)
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()
