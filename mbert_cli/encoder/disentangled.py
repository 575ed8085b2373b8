"""Disentangled attention: scores depend on contents and, separately, on the distance between two tokens."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mbert_cli.encoder.kernels.bf16_products import matmul
from mbert_cli.encoder.shape import EncoderShape


class Distances(NamedTuple):
    """The embeddings of the distances between two tokens, from -(longest - 1) to longest - 1.

    Args:
        embeddings: a part of the table of embeddings.
        rows: for each distance, its row in `embeddings`.
        first: the row of the table that is the first row of `embeddings`.
    """

    embeddings: Float[Tensor, "rows hidden"]
    rows: Int[Tensor, " distances"]
    first: int


@dataclass(frozen=True)
class Disentangled:
    """Queries and keys of distances, which attention adds to those of tokens in one layer.

    The score of query i and key j is (Q_i K_j + Q_i K'_b + Q'_b K_j) / sqrt(3 d), where b is the bucket of the distance
    i - j, and Q' and K' are the queries and keys of the embeddings of distances.

    Source: He et al. 2021 (DeBERTa), section 3.1; buckets and shared projections: He et al. 2023 (DeBERTaV3).

    Args:
        queries: Q', for each segment, or for all of them.
        keys: K', the same.
        rows: b for each distance from -(longest - 1) to longest - 1.
    """

    queries: Float[Tensor, "segments rows hidden"]
    keys: Float[Tensor, "segments rows hidden"]
    rows: Int[Tensor, " distances"]

    def applied(
        self,
        q: Float[Tensor, "sentences heads width size"],
        k: Float[Tensor, "sentences heads width size"],
        segments: Int[Tensor, " sentences"] | None,
    ) -> tuple[Float[Tensor, "sentences heads width size"], Float[Tensor, "sentences heads width width"]]:
        """Return Q / sqrt(3) and B, so that softmax(Q K^T / sqrt(d) + B) has the scores above.

        Args:
            q: queries of the tokens of some sentences.
            k: their keys.
            segments: the segment of each sentence; None if there is only one.
        """
        width = q.shape[2]
        places = torch.arange(width, device=q.device)
        # Not len(), which would fix a symbolic size.
        rows = self.rows[places[:, None] - places + (self.rows.shape[0] - 1) // 2]
        index = rows.expand(*q.shape[:2], width, width)
        q, scale = q * 3**-0.5, q.shape[-1] ** -0.5
        queries, keys = (self._heads(x, q, segments).transpose(-2, -1) for x in (self.queries * 3**-0.5, self.keys))
        of_keys = matmul(q * scale, keys).gather(-1, index)
        of_queries = matmul(k * scale, queries).gather(-1, index.transpose(-2, -1))
        return q, of_keys + of_queries.transpose(-2, -1)

    def _heads(self, of_distances: Tensor, q: Tensor, segments: Tensor | None) -> Tensor:
        chosen = of_distances if len(of_distances) == 1 or segments is None else of_distances[segments]
        return chosen.to(q.dtype).unflatten(-1, (q.shape[1], -1)).transpose(1, 2)


class DistanceEmbeddings(nn.Module):
    """The embeddings of distances, the same for all layers.

    Args:
        shape: sizes of the encoder; attention is disentangled.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.buckets, self.max_distance = shape.position_buckets, shape.max_distance
        self.table = nn.Embedding(2 * shape.position_buckets, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, longest: Any) -> Distances:
        """Return the embeddings of all distances.

        Args:
            longest: number of tokens of the longest sentence: an int, or symbolic.
        """
        # No bucket is larger than its distance. So these rows are all that occur, and projections of few are cheap. The
        # length is symbolic while a model is exported.
        reach = min(longest, self.buckets) if isinstance(longest, int) else self.buckets
        least, most = self.buckets - reach, self.buckets + reach - 1
        device = self.table.weight.device
        buckets = _bucket(torch.arange(1 - longest, longest, device=device), self.buckets, self.max_distance)
        rows = (buckets + self.buckets).clamp(least, most) - least
        return Distances(self.norm(self.table.weight[least : most + 1]), rows, least)


def _bucket(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Return the bucket of each distance: the distance itself up to half of the buckets, then logarithmic."""
    single = buckets // 2
    away = distances.abs()
    # In fp32, as in the reference: at the bounds of the buckets, other precisions round to other buckets.
    grown = torch.log(away.clamp(min=single) / single) / math.log((max_distance - 1) / single)
    far = torch.ceil(grown * (single - 1)) + single
    return torch.where(away <= single, distances, far * distances.sign()).long()
