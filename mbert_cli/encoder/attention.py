"""Multi-head self-attention over packed sentences. In a layer, only attention uses the layout."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder import kernels
from mbert_cli.encoder.disentangled import Disentangled, Distances
from mbert_cli.encoder.dropout import dropout
from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.positions import NOWHERE, Positions, Relative
from mbert_cli.encoder.prefix import Prefix
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.encoder.shape import EncoderShape


def attend(
    qkv: Float[Tensor, "tokens features3"] | Pending,
    layout: AnyLayout,
    num_heads: int,
    dropout_p: float,
    prefixes: Sequence[Sequence[Prefix]] = (),
    relative: Relative = NOWHERE,
) -> Float[Tensor, "tokens features"]:
    """Return concat_i softmax(Q_i K_i^T / sqrt(d) + B_i) V_i for every sentence separately.

    Args:
        qkv: concatenated queries, keys and values, each with ``features = features3 / 3``.
        layout: positions of the sentences in the stream; tokens attend only within their sentence.
        num_heads: number of attention heads; divides features.
        dropout_p: probability of dropping an attention weight; 0 outside training.
        prefixes: for each segment, additional keys and values that its sentences attend to; none by default.
        relative: how B and the scores depend on positions; by default B is 0. It is 0 for the keys of prefixes, too.
    """
    pending = qkv if isinstance(qkv, Pending) else Pending(qkv)
    return kernels.current().attend(pending, layout, num_heads, dropout_p, prefixes, relative)


class SelfAttention(nn.Module):
    """BERT's attention sublayer MH(h) = W_O attend(W_QKV h), without its residual connection.

    Args:
        shape: sizes of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.dropout_p, self.distance_dropout_p = shape.attention_dropout, shape.dropout
        self.qkv: nn.Linear = Linear(shape.hidden_size, 3 * shape.hidden_size, shape.attention_bias)
        self.output: nn.Linear = Linear(shape.hidden_size, shape.hidden_size, shape.attention_bias)

    def drop(self, shape: EncoderShape) -> None:
        """Set the dropout probabilities to those of `shape`."""
        self.dropout_p, self.distance_dropout_p = shape.attention_dropout, shape.dropout

    def forward(
        self,
        h: Float[Tensor, "tokens hidden"],
        layout: AnyLayout,
        adapters: SegmentAdapters,
        layer: int,
        positions: Positions,
    ) -> Pending:
        """Return MH(h)."""
        dropout_p = self.dropout_p if self.training else 0.0
        qkv = adapters.linear(self.qkv, h, "qkv", layer)
        relative = positions.relative(layer)
        if positions.distances is not None:
            relative = Relative(disentangled=self._disentangled(positions.distances, adapters, layer))
        mixed = attend(qkv, layout, self.num_heads, dropout_p, adapters.prefixes(layer), relative)
        return adapters.linear(self.output, mixed, "attention_output", layer)

    def _disentangled(self, distances: Distances, adapters: SegmentAdapters, layer: int) -> Disentangled:
        """Return the queries and keys of distances. Their projections are those of tokens."""
        embeddings, first = distances.embeddings, distances.first
        if self.training:
            rows = torch.arange(first, first + len(embeddings), device=embeddings.device)
            embeddings = dropout(embeddings, self.distance_dropout_p, rows)
        qkv = adapters.linear_of_each_segment(self.qkv, embeddings, first, "qkv", layer)
        queries, keys, _ = qkv.chunk(3, -1)
        return Disentangled(queries, keys, distances.rows)
