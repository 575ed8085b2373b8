"""The paper's low-rank layer."""

from typing import Annotated, Literal, cast

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.adapters import check_rank
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter, Bottleneck, Sublayer
from mbert_cli.encoder.initialisation import start_projections
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.shape import EncoderShape


class LowRank(Adapter):
    """Low-rank adapter: TS(h) = V_D V_E h, parallel to the feed-forward sublayer; h is the input of the layer.

    Source: Multi-BERT paper, "Parameters Adaption Methods"; Stickland & Murray 2019, section 3.
    Differs from the authors' code, which puts a GELU between V_E and V_D (`activation: gelu`).
    V_D starts at zero, so a new adapter leaves the encoder exactly unchanged.
    Parameters per task: num_layers * 2 * hidden_size * rank, plus biases.

    Args:
        shape: sizes of the encoder being adapted.
        rank: width d_s of the bottleneck, in features.
        activation: function between V_E and V_D; `none` is the identity, as in the paper.
        init_std: standard deviation of V_D's initial values; with 0 the adapter starts as the identity.

    Raises:
        OptionError: rank is above hidden_size.
    """

    formula = "L * 2 d_m d_s"
    size_option = "rank"

    def __init__(
        self,
        shape: EncoderShape,
        *,
        rank: Annotated[int, Field(ge=1)] = 204,
        activation: Literal["none", "gelu"] = "none",
        init_std: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    ) -> None:
        super().__init__()
        check_rank(rank, shape.hidden_size)
        self.activation = nn.functional.gelu if activation == "gelu" else None
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for _ in range(shape.num_layers):
            down, up = Linear(shape.hidden_size, rank), Linear(rank, shape.hidden_size)
            start_projections(down, up, init_std)
            self.down.append(down)
            self.up.append(up)

    def num_weights(self) -> int:
        """L * 2 d_m d_s."""
        return sum(part.weight.numel() for part in self.modules() if isinstance(part, nn.Linear))

    def after_feed_forward(
        self,
        x: Float[Tensor, "tokens hidden"],
        layer_input: Float[Tensor, "tokens hidden"],
        layer: int,
        layout: AnyLayout,
    ) -> Float[Tensor, "tokens hidden"]:
        """Return x + V_D V_E h."""
        linear = kernels.current().linear
        inside = linear(layer_input, self.down[layer])
        if self.activation is not None:
            inside = inside.activated(self.activation)
        return kernels.current().add(x, linear(inside, self.up[layer]))

    def bottleneck(self, site: Sublayer, layer: int) -> Bottleneck | None:
        """Return the bottleneck x + V_D V_E h."""
        if site != "after_feed_forward":
            return None
        down, up = cast(Linear, self.down[layer]), cast(Linear, self.up[layer])
        return Bottleneck(down, up, self.activation, "layer_input")
