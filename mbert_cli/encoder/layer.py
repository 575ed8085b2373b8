"""One encoder layer, with its adapter sites."""

from functools import partial
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder import adapter
from mbert_cli.encoder.attention import SelfAttention
from mbert_cli.encoder.kernels import Activation, Gated, Pending
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.positions import Positions
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.encoder.shape import EncoderShape

ACTIVATIONS: dict[str, Activation] = {
    "gelu": nn.functional.gelu,
    "gelu_new": partial(nn.functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
}


class Stream(NamedTuple):
    """The states between two layers.

    Args:
        normed: the output of the last LayerNorm, which is the input of the next sublayer.
        residual: the next sublayer's output is added to it. It is `normed`; with a LayerNorm before each sublayer, it
            is the sum of the outputs of all sublayers so far.
    """

    normed: Float[Tensor, "tokens hidden"]
    residual: Float[Tensor, "tokens hidden"]


class EncoderLayer(nn.Module):
    """A BERT layer with adapters: BL(h) = LN(x + B(FFN(x), h)) with x = LN(h + A(MH(h))).

    A and B are the adapter sites `after_attention` and `after_feed_forward`; without adapters they are the identity.
    With PAL or low-rank adapters, B(f, h) = f + TS(h), which is BL_PAL in the paper.

    With a LayerNorm before each sublayer, there is also a stream r of sums, and r' = r + A(MH(h)), x = LN(r'),
    r'' = r' + B(FFN(x), h), BL(h) = LN(r''). Here, each LayerNorm belongs to the sublayer before it. So the second
    LayerNorm of a layer is the first LayerNorm of the next layer in a checkpoint. In the last layer it is the final
    LayerNorm. Adapters get h, not r: h has the same scale in all layers, as in BERT.

    FFN(x) = W_2 gelu(W_1 x), or, if it is gated, W_2 (gelu(W_1 x) * W_3 x); W_1 and W_3 are one module, `intermediate`.

    Args:
        shape: sizes of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        hidden = shape.hidden_size
        self.attention = SelfAttention(shape)
        self.attention_norm = nn.LayerNorm(hidden, eps=shape.layer_norm_eps, bias=shape.norm_bias)
        self.intermediate: nn.Linear = Linear(hidden, shape.intermediate_width, shape.intermediate_bias)
        self.output: nn.Linear = Linear(shape.intermediate_size, hidden, shape.output_bias)
        self.output_norm = nn.LayerNorm(hidden, eps=shape.layer_norm_eps, bias=shape.norm_bias)
        self.dropout_p = shape.dropout
        self.activation = ACTIVATIONS[shape.activation]
        if shape.gated:
            self.activation = Gated(self.activation)
        self.norm_first = shape.norm_first

    def drop(self, shape: EncoderShape) -> None:
        """Set the dropout probabilities to those of `shape`."""
        self.dropout_p = shape.dropout
        self.attention.drop(shape)

    def linears(self) -> dict[adapter.Linear, nn.Linear]:
        """Return the linear layers by their names in the adapter interface."""
        attention = self.attention
        return {
            "qkv": attention.qkv,
            "attention_output": attention.output,
            "intermediate": self.intermediate,
            "output": self.output,
        }

    def norms(self) -> dict[adapter.Norm, nn.LayerNorm]:
        """Return the LayerNorms by their names in the adapter interface."""
        return {"attention_norm": self.attention_norm, "output_norm": self.output_norm}

    def forward(
        self,
        stream: Stream,
        layout: AnyLayout,
        positions: Positions,
        adapters: SegmentAdapters | None = None,
        layer: int = 0,
    ) -> Stream:
        """Return BL(h), and the stream of sums.

        Args:
            stream: hidden states of the packed sentences.
            layout: positions of the sentences in the stream.
            positions: how attention depends on positions in a sentence.
            adapters: adapters of the layout's segments; none by default.
            layer: index of this layer, from 0.
        """
        adapters = adapters or SegmentAdapters(layout)
        add_norm = self._add_then_norm if self.norm_first else self._add_norm
        dropout_p = self.dropout_p if self.training else 0.0
        h = stream.normed
        attended = self.attention(h, layout, adapters, layer, positions).dropped(dropout_p)
        attended = adapters.after_attention(attended, layer)
        stream = add_norm(adapters, attended, stream, "attention_norm", layer)
        inside = adapters.linear(self.intermediate, stream.normed, "intermediate", layer).activated(self.activation)
        fed = adapters.linear(self.output, inside, "output", layer).dropped(dropout_p)
        fed = adapters.after_feed_forward(fed, h, layer)
        return add_norm(adapters, fed, stream, "output_norm", layer)

    def _add_norm(
        self, adapters: SegmentAdapters, x: Pending, stream: Stream, name: adapter.Norm, layer: int
    ) -> Stream:
        return Stream(*adapters.add_norm(x, stream.residual, self.norms()[name], name, layer))

    def _add_then_norm(
        self, adapters: SegmentAdapters, x: Pending, stream: Stream, name: adapter.Norm, layer: int
    ) -> Stream:
        return Stream(*adapters.add_then_norm(x, stream.residual, self.norms()[name], name, layer))
