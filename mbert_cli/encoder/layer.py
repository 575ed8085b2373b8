"""One encoder layer, with its adapter sites."""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder import adapter
from mbert_cli.encoder.attention import SelfAttention
from mbert_cli.encoder.kernels import Activation
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.encoder.shape import EncoderShape

ACTIVATIONS: dict[str, Activation] = {
    "gelu": nn.functional.gelu,
    "gelu_new": partial(nn.functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
}


class EncoderLayer(nn.Module):
    """A BERT layer with adapters: BL(h) = LN(x + B(FFN(x), h)) with x = LN(h + A(MH(h))).

    A and B are the adapter sites `after_attention` and `after_feed_forward`; without adapters they are the identity.
    With PAL or low-rank adapters, B(f, h) = f + TS(h), which is BL_PAL in the paper.

    Args:
        shape: sizes of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.attention = SelfAttention(shape.hidden_size, shape.num_heads, shape.attention_dropout)
        self.attention_norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.intermediate = Linear(shape.hidden_size, shape.intermediate_size)
        self.output = Linear(shape.intermediate_size, shape.hidden_size)
        self.output_norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dropout_p = shape.dropout
        self.activation = ACTIVATIONS[shape.activation]

    def drop(self, shape: EncoderShape) -> None:
        """Set the dropout probabilities to those of `shape`."""
        self.dropout_p = shape.dropout
        self.attention.dropout_p = shape.attention_dropout

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
        h: Float[Tensor, "tokens hidden"],
        layout: AnyLayout,
        adapters: SegmentAdapters | None = None,
        layer: int = 0,
        bias: Float[Tensor, "heads distances"] | None = None,
    ) -> Float[Tensor, "tokens hidden"]:
        """Return BL(h).

        Args:
            h: hidden states of the packed sentences.
            layout: positions of the sentences in the stream.
            adapters: adapters of the layout's segments; none by default.
            layer: index of this layer, from 0.
            bias: see `encoder.relative_bias`; None if there is none.
        """
        adapters = adapters or SegmentAdapters(layout)
        dropout_p = self.dropout_p if self.training else 0.0
        attended = self.attention(h, layout, adapters, layer, bias).dropped(dropout_p)
        attended = adapters.after_attention(attended, layer)
        x = adapters.add_norm(attended, h, self.attention_norm, "attention_norm", layer)
        inside = adapters.linear(self.intermediate, x, "intermediate", layer).activated(self.activation)
        fed = adapters.linear(self.output, inside, "output", layer).dropped(dropout_p)
        fed = adapters.after_feed_forward(fed, h, layer)
        return adapters.add_norm(fed, x, self.output_norm, "output_norm", layer)
