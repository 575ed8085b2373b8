"""How attention depends on the positions of two tokens of a sentence."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.disentangled import Disentangled, DistanceEmbeddings, Distances
from mbert_cli.encoder.relative_bias import RelativeBias
from mbert_cli.encoder.rotation import Rotation, rotation
from mbert_cli.encoder.shape import EncoderShape

IGNORED = -1e30  # a score that gives no weight; the sum of two of them is finite, too


@dataclass(frozen=True)
class Relative:
    """How the scores of one layer depend on positions. By default they do not.

    Args:
        bias: added to scores, by the distance key minus query; see `encoder.relative_bias`.
        rotation: rotates queries and keys; see `encoder.rotation`.
        window: keys further away than this number of tokens are ignored; None if there is no limit.
        disentangled: the scores of distances; see `encoder.disentangled`.
    """

    bias: Float[Tensor, "heads distances"] | None = None
    rotation: Rotation | None = None
    window: int | None = None
    disentangled: Disentangled | None = None

    def limited_bias(self, longest: Any, device: torch.device) -> Float[Tensor, "heads distances"] | None:
        """Return the bias including the window: it is -1e30 beyond. None if there is neither bias nor window.

        Args:
            longest: number of tokens of the longest sentence: an int, or symbolic.
            device: the device of the result.

        Returns:
            One row for each head, or one for all heads.
        """
        if self.window is None or (isinstance(longest, int) and longest <= self.window + 1):
            return self.bias
        away = torch.arange(1 - longest, longest, device=device).abs()
        limit = torch.where(away <= self.window, 0.0, IGNORED)[None]
        return limit if self.bias is None else self.bias + limit


NOWHERE = Relative()
"""Attention that does not depend on positions."""


@dataclass(frozen=True)
class Positions:
    """How the scores of all layers depend on positions.

    Args:
        everywhere: for layers whose tokens attend to the whole sentence.
        local: for the other layers.
        global_every: see `EncoderShape`.
        distances: the embeddings of distances, if attention is disentangled.
    """

    everywhere: Relative = NOWHERE
    local: Relative = NOWHERE
    global_every: int = 1
    distances: Distances | None = None

    def relative(self, layer: int) -> Relative:
        """Return how the scores of a layer depend on positions."""
        return self.local if layer % self.global_every else self.everywhere


class RelativePositions(nn.Module):
    """The parameters of relative positions, which are the same for all layers.

    Args:
        shape: sizes of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self._shape = shape
        self.bias = RelativeBias(shape.relative_buckets, shape.num_heads) if shape.relative_buckets else None
        self.distances = DistanceEmbeddings(shape) if shape.position_buckets else None

    def forward(self, longest: Any, device: torch.device) -> Positions:
        """Return how scores depend on the positions of a stream.

        Args:
            longest: number of tokens of the longest sentence: an int, or symbolic.
            device: device of the stream.
        """
        shape = self._shape
        bias = None if self.bias is None else self.bias(longest)
        rotations = [
            rotation(theta, shape.hidden_size // shape.num_heads, longest, device) if theta else None
            for theta in (shape.rotary_theta, shape.local_rotary_theta)
        ]
        return Positions(
            Relative(bias, rotations[0]),
            Relative(bias, rotations[1], shape.local_window // 2),
            shape.global_every,
            None if self.distances is None else self.distances(longest),
        )
