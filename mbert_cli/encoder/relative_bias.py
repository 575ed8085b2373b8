"""A bias on attention scores that depends on the distance between two tokens."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_FARTHEST = 128  # tokens; all larger distances share a bucket


class RelativeBias(nn.Module):
    """The bias b(j - i) added to the attention score of query i and key j, one for each head, the same in all layers.

    Distances share a bias in buckets. Half of the buckets are for keys after the query. Of each half, the first half of
    the buckets are for single distances, the others grow logarithmically up to a distance of 128.

    Source: Raffel et al. 2020 (T5), section 2.1; MPNet uses the same buckets.

    Args:
        buckets: number of buckets.
        num_heads: number of attention heads.
    """

    def __init__(self, buckets: int, num_heads: int) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, num_heads)

    def forward(self, longest: Any) -> Float[Tensor, "heads distances"]:
        """Return the bias of each distance j - i from -(longest - 1) to longest - 1."""
        distances = torch.arange(1 - longest, longest, device=self.table.weight.device)
        bias: Tensor = self.table(_buckets(distances, self.table.num_embeddings))
        return bias.t()


def _buckets(distances: Tensor, buckets: int) -> Tensor:
    half = buckets // 2
    single = half // 2
    away = distances.abs()
    # In fp32, as in the reference: at the bounds of the buckets, other precisions round to other buckets.
    grown = torch.log(away.clamp(min=1).float() / single) / math.log(_FARTHEST / single) * (half - single)
    far = (single + grown.long()).clamp(max=half - 1)
    return torch.where(away < single, away, far) + half * (distances > 0)


def toeplitz(by_distance: Float[Tensor, "heads distances"], width: int) -> Float[Tensor, "heads width width"]:
    """Return the matrix whose element (i, j) is the value of the distance j - i.

    Args:
        by_distance: values of the distances from -(longest - 1) to longest - 1.
        width: number of tokens, at most `longest`.
    """
    places = torch.arange(width, device=by_distance.device)
    return by_distance[:, places - places[:, None] + (by_distance.shape[1] - 1) // 2]
