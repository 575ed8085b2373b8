"""The paper's projected attention layer."""

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.adapters import check_rank
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.attention import attend
from mbert_cli.encoder.initialisation import initialise, start_projections
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError


class PAL(Adapter):
    """Projected attention layer: TS(h) = V_D MH(V_E h), parallel to the feed-forward sublayer; h is the layer's input.

    MH is multi-head attention on d_s features without an output projection. Each layer has its own Q, K and V. V_E and
    V_D are shared by all layers of a task. Tokens attend within their sentence.

    Source: Multi-BERT paper, "Parameters Adaption Methods"; Stickland & Murray 2019, section 3.
    Differs from the authors' code, which puts a GELU after V_D (`post_activation: gelu`) and draws V_D from N(0, .02)
    (`init_std: 0.02`). Here V_D starts at zero, so a new adapter leaves the encoder exactly unchanged.
    Parameters per task: 2 * hidden_size * rank + num_layers * 3 * rank^2, plus biases.

    Args:
        shape: sizes of the encoder being adapted.
        rank: width d_s of the bottleneck, in features.
        heads: number of attention heads on the bottleneck; must divide rank. Rank 204 gives 6 heads of 34 features.
        post_activation: function applied to V_D's output; `none` is the identity, as in the paper.
        init_std: standard deviation of V_D's initial values; with 0 the adapter starts as the identity.

    Raises:
        OptionError: rank is above hidden_size, or is not a multiple of heads.
    """

    formula = "2 d_m d_s + L * 3 d_s^2"
    size_option = "rank"

    def __init__(
        self,
        shape: EncoderShape,
        *,
        rank: Annotated[int, Field(ge=1)] = 204,
        heads: Annotated[int, Field(ge=1)] = 6,
        post_activation: Literal["none", "gelu"] = "none",
        init_std: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    ) -> None:
        super().__init__()
        check_rank(rank, shape.hidden_size)
        if rank % heads:
            raise OptionError("rank", f"must be a multiple of the attention heads ({heads}), but is {rank}")
        self.heads = heads
        self.dropout_p = shape.attention_dropout
        self.post_activation = nn.functional.gelu if post_activation == "gelu" else None
        self.down, self.up = Linear(shape.hidden_size, rank), Linear(rank, shape.hidden_size)
        start_projections(self.down, self.up, init_std)
        self.qkv = nn.ModuleList(Linear(rank, 3 * rank) for _ in range(shape.num_layers))
        initialise(self.qkv)

    def num_weights(self) -> int:
        """2 d_m d_s + L * 3 d_s^2."""
        return sum(part.weight.numel() for part in self.modules() if isinstance(part, nn.Linear))

    def after_feed_forward(
        self,
        x: Float[Tensor, "tokens hidden"],
        layer_input: Float[Tensor, "tokens hidden"],
        layer: int,
        layout: AnyLayout,
    ) -> Float[Tensor, "tokens hidden"]:
        """Return x + V_D MH(V_E h)."""
        dropout_p = self.dropout_p if self.training else 0.0
        linear = kernels.current().linear
        qkv = linear(linear(layer_input, self.down), self.qkv[layer])
        y = linear(attend(qkv, layout, self.heads, dropout_p), self.up)
        return kernels.current().add(x, y if self.post_activation is None else y.activated(self.post_activation))
