"""Multi-head self-attention over packed sentences. In a layer, only attention uses the layout."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder import kernels
from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.prefix import Prefix
from mbert_cli.encoder.segment_adapters import SegmentAdapters


def attend(
    qkv: Float[Tensor, "tokens features3"] | Pending,
    layout: AnyLayout,
    num_heads: int,
    dropout_p: float,
    prefixes: Sequence[Sequence[Prefix]] = (),
    bias: Float[Tensor, "heads distances"] | None = None,
) -> Float[Tensor, "tokens features"]:
    """Return concat_i softmax(Q_i K_i^T / sqrt(d) + B_i) V_i for every sentence separately.

    Args:
        qkv: concatenated queries, keys and values, each with ``features = features3 / 3``.
        layout: positions of the sentences in the stream; tokens attend only within their sentence.
        num_heads: number of attention heads; divides features.
        dropout_p: probability of dropping an attention weight; 0 outside training.
        prefixes: for each segment, additional keys and values that its sentences attend to; none by default.
        bias: the values of B by the distance of two tokens, see `encoder.relative_bias`; by default B is 0. It is 0 for
            the keys of prefixes, too.
    """
    pending = qkv if isinstance(qkv, Pending) else Pending(qkv)
    return kernels.current().attend(pending, layout, num_heads, dropout_p, prefixes, bias)


class SelfAttention(nn.Module):
    """BERT's attention sublayer MH(h) = W_O attend(W_QKV h), without its residual connection.

    Args:
        hidden_size: d_m, number of features of input and output.
        num_heads: number of attention heads.
        dropout_p: probability of dropping an attention weight in training.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout_p: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout_p = dropout_p
        self.qkv = Linear(hidden_size, 3 * hidden_size)
        self.output = Linear(hidden_size, hidden_size)

    def forward(
        self,
        h: Float[Tensor, "tokens hidden"],
        layout: AnyLayout,
        adapters: SegmentAdapters,
        layer: int,
        bias: Float[Tensor, "heads distances"] | None = None,
    ) -> Pending:
        """Return MH(h)."""
        dropout_p = self.dropout_p if self.training else 0.0
        qkv = adapters.linear(self.qkv, h, "qkv", layer)
        mixed = attend(qkv, layout, self.num_heads, dropout_p, adapters.prefixes(layer), bias)
        return adapters.linear(self.output, mixed, "attention_output", layer)
