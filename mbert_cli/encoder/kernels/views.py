"""Views of tensors as NumPy arrays for the compiled loops."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.kernels.lanes import WIDTH
from mbert_cli.encoder.rotation import Rotation

CHUNKS = 32
"""The number of parts that work is split into. It is fixed, so that sums do not depend on the number of threads."""

_NOTHING, _NO_HALVES = np.empty(0, np.float32), np.empty(0, np.int16)


def fits(*tensors: Tensor) -> bool:
    """Return whether the loops support these tensors."""
    return all(
        x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.shape[-1] % WIDTH == 0 and x.numel()
        for x in tensors
    )


def flat(x: Tensor | None) -> np.ndarray:
    """Return a contiguous tensor as a flat array: bf16 as int16, None as an empty array."""
    if x is None:
        return _NOTHING
    x = x.detach().view(-1)
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()


def padded_table(by_distance: Float[Tensor, "heads distances"]) -> Float[Tensor, "heads padded"]:
    """Return values by distance in fp32, with zeros after those of each head: the loops read sixteen at once."""
    return nn.functional.pad(by_distance.float(), (0, WIDTH))


def angles_of(rotation: Rotation | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines and sines of a rotation as flat arrays, which are empty if there is none."""
    return (_NOTHING, _NOTHING) if rotation is None else (flat(rotation.cos), flat(rotation.sin))


def sums(wanted: bool, features: int) -> np.ndarray:
    """Return zeros for the partial sums of a derivative."""
    return np.zeros((CHUNKS if wanted else 0, features), np.float32)


def summed(parts: np.ndarray) -> Tensor | None:
    """Return the sum of the partial sums of a derivative; None if it is not wanted."""
    return torch.from_numpy(parts.sum(0)) if len(parts) else None


def flat_like(x: Tensor | None, like: Tensor) -> np.ndarray:
    """Return a contiguous tensor as a flat array; None as an empty array of the data type of `like`."""
    if x is None:
        return _NO_HALVES if like.dtype == torch.bfloat16 else _NOTHING
    return flat(x)
