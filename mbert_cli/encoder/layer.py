"""One encoder layer, with the sites where adapters act."""

from collections.abc import Callable, Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder.adapter import Adapter, adapters_at, apply_by_segment
from mbert_cli.encoder.attention import SelfAttention
from mbert_cli.encoder.dropout import Dropout
from mbert_cli.encoder.shape import EncoderShape

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "gelu_new": partial(nn.functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
}


class EncoderLayer(nn.Module):
    """A BERT layer with adapters: BL(h) = LN(x + B(FFN(x), h)) with x = LN(h + A(MH(h))).

    A and B are the adapters' sites `after_attention` and `after_feed_forward`; without adapters they are the identity.
    With PAL or low rank, B(f, h) = f + TS(h): the paper's BL_PAL.

    Args:
        shape: sizes of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.attention = SelfAttention(shape.hidden_size, shape.num_heads, shape.attention_dropout)
        self.attention_norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.intermediate = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.output = nn.Linear(shape.intermediate_size, shape.hidden_size)
        self.output_norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dropout = Dropout(shape.dropout)
        self.activation = ACTIVATIONS[shape.activation]

    def forward(
        self,
        h: Float[Tensor, "tokens hidden"],
        layout: Layout,
        adapters: Sequence[Sequence[Adapter]] = (),
        layer: int = 0,
    ) -> Float[Tensor, "tokens hidden"]:
        """Return BL(h).

        Args:
            h: hidden states of the packed sentences.
            layout: where the sentences lie.
            adapters: those of each segment of the layout, in the order they act.
            layer: index of this layer, from 0.
        """
        attended = self.dropout(self.attention(h, layout))
        attended = apply_by_segment(
            lambda adapter, part, _: adapter.after_attention(part, layer),
            attended,
            layout,
            adapters_at("after_attention", adapters),
        )
        x = self.attention_norm(h + attended)
        fed = self.dropout(self.output(self.activation(self.intermediate(x))))
        inputs = h.split(layout.segment_tokens)
        fed = apply_by_segment(
            lambda adapter, part, i: adapter.after_feed_forward(part, inputs[i], layer, layout.segments[i]),
            fed,
            layout,
            adapters_at("after_feed_forward", adapters),
        )
        return self.output_norm(x + fed)
