"""Rotary positions: queries and keys are rotated by angles proportional to their position in the sentence."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Rotation(NamedTuple):
    """The cosines and sines of the angles of each position.

    A head's query or key [a; b], of two halves with d / 2 features each, becomes [a cos - b sin; b cos + a sin]. The
    angle of feature k at position p is p theta^(-2 k / d). So the product of a query and a key depends on the distance
    between them.

    Source: Su et al. 2021 (RoFormer), section 3.2, with the features paired as in transformers.
    """

    cos: Float[Tensor, "positions half"]
    sin: Float[Tensor, "positions half"]

    def first(self, positions: int) -> "Rotation":
        """Return the rotation of the first positions."""
        return Rotation(self.cos[:positions], self.sin[:positions])

    def rotate(self, x: Float[Tensor, "*rest features"]) -> Float[Tensor, "*rest features"]:
        """Return queries or keys, rotated; their dimensions before the last must fit those of the angles."""
        cos, sin = self
        near, far = x.float().chunk(2, -1)
        return torch.cat([near * cos - far * sin, far * cos + near * sin], -1).to(x.dtype)


def rotation(theta: float, size: int, longest: Any, device: torch.device) -> Rotation:
    """Return the rotation of all positions of a sentence.

    Args:
        theta: the base of the angles.
        size: d, number of features of a head.
        longest: number of positions: an int, or symbolic.
        device: the device of the result.
    """
    # On the device and in this order, as in the reference: at large positions, rounding errors of angles matter.
    rates = 1.0 / theta ** (torch.arange(0, size, 2, device=device).float() / size)
    angles = torch.arange(longest, device=device)[:, None].float() * rates
    return Rotation(angles.cos(), angles.sin())
