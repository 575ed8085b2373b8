"""Operations with a bias for each segment of a stream, on a CPU."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mbert_cli.encoder.kernels.lanes import WIDTH
from mbert_cli.encoder.kernels.memory import empty_rows
from mbert_cli.encoder.kernels.segment_loops import add_of_segments, add_of_segments_backward
from mbert_cli.encoder.kernels.views import CHUNKS, flat, flat_like

MULTIPLE = WIDTH
"""The number of columns must be a multiple of this number."""


def add(
    z: Float[Tensor, "rows columns"],
    bias: Float[Tensor, "segments columns"],
    ends: Int[Tensor, " segments"],
    residual: Float[Tensor, "rows columns"] | None = None,
    has_gelu: bool = False,
) -> Float[Tensor, "rows columns"]:
    """Return residual + z + bias, or GELU(z + bias); without GELU, z is overwritten.

    Args:
        z: values.
        bias: the bias of each segment.
        ends: the end of each segment; int32.
        residual: values to add; only without GELU.
        has_gelu: whether to apply GELU.
    """
    y = empty_rows(z) if has_gelu else z
    add_of_segments(flat(z), flat(bias), ends.numpy(), flat_like(residual, z), has_gelu, _parts(bias), flat(y))
    return y


def add_backward(
    dy: Float[Tensor, "rows columns"],
    z: Float[Tensor, "rows columns"] | None,
    bias: Float[Tensor, "segments columns"],
    ends: Int[Tensor, " segments"],
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "segments columns"]]:
    """Return the derivatives of z and of the bias.

    Args:
        dy: the derivative of `add`; with GELU it is overwritten.
        z: the z of `add` with GELU; None without GELU.
        bias: see `add`.
        ends: see `add`.
    """
    sums = np.zeros((len(bias) * _parts(bias), bias.shape[1]), np.float32)
    arguments = flat(dy), flat_like(z, dy), flat(bias), ends.numpy(), _parts(bias)
    add_of_segments_backward(*arguments, flat_like(None if z is None else dy, dy), sums)
    return dy, torch.from_numpy(sums.reshape(len(bias), -1, bias.shape[1]).sum(1))


def _parts(bias: Tensor) -> int:
    """Return the number of parts of a segment. It is fixed, so that sums do not depend on the number of threads."""
    return -(-CHUNKS // len(bias))
