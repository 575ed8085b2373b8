"""The Houlsby adapter."""

from typing import Annotated, cast

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.adapters import check_rank
from mbert_cli.adapters.layer_norm import LayerNorm
from mbert_cli.encoder import adapter, kernels
from mbert_cli.encoder.adapter import Adapter, Norm, Sublayer
from mbert_cli.encoder.initialisation import start_projections
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.shape import EncoderShape


class Houlsby(Adapter):
    """Houlsby adapter: two bottlenecks x + V_D gelu(V_E x) inside each layer.

    The first x is the output of the attention sublayer, the second x is the output of the feed-forward sublayer. Both
    are taken before the residual connection and the LayerNorm.

    Source: Multi-BERT paper, "Parameters Adaption Methods"; Houlsby et al. 2019, section 2.1. Stickland & Murray put
    the second bottleneck parallel to the feed-forward sublayer. Here it follows Houlsby et al.
    V_D starts at zero, so a new adapter leaves the encoder exactly unchanged. Houlsby et al. draw V_D from a normal
    distribution with standard deviation 0.001, truncated at two standard deviations. `init_std: 0.001` does the same
    without the truncation.
    Parameters per task: num_layers * 4 * hidden_size * rank, plus biases, plus the LayerNorms if they train.

    Args:
        shape: sizes of the encoder being adapted.
        rank: width d_s of each bottleneck, in features.
        train_layer_norms: also train task-specific LayerNorms, as Houlsby et al. do; see `layer_norm`.
        init_std: standard deviation of V_D's initial values; with 0 the adapter starts as the identity.

    Raises:
        OptionError: rank is above hidden_size.
    """

    formula = "L * 4 d_m d_s"
    size_option = "rank"

    def __init__(
        self,
        shape: EncoderShape,
        *,
        rank: Annotated[int, Field(ge=1)] = 204,
        train_layer_norms: bool = False,
        init_std: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    ) -> None:
        super().__init__()
        check_rank(rank, shape.hidden_size)
        layers = range(shape.num_layers)
        self.attention = nn.ModuleList(Bottleneck(shape.hidden_size, rank, init_std) for _ in layers)
        self.feed_forward = nn.ModuleList(Bottleneck(shape.hidden_size, rank, init_std) for _ in layers)
        self.layer_norms = LayerNorm(shape) if train_layer_norms else None

    def num_weights(self) -> int:
        """L * 4 d_m d_s."""
        return sum(part.weight.numel() for part in self.modules() if isinstance(part, nn.Linear))

    def after_attention(self, x: Float[Tensor, "tokens hidden"], layer: int) -> Float[Tensor, "tokens hidden"]:
        """Return x + V_D gelu(V_E x)."""
        return self.attention[layer](x)

    def after_feed_forward(
        self,
        x: Float[Tensor, "tokens hidden"],
        layer_input: Float[Tensor, "tokens hidden"],
        layer: int,
        layout: AnyLayout,
    ) -> Float[Tensor, "tokens hidden"]:
        """Return x + V_D gelu(V_E x)."""
        return self.feed_forward[layer](x)

    def bottleneck(self, site: Sublayer, layer: int) -> adapter.Bottleneck:
        """Return the bottleneck x + V_D gelu(V_E x)."""
        block = cast(Bottleneck, (self.attention if site == "after_attention" else self.feed_forward)[layer])
        return adapter.Bottleneck(block.down, block.up, nn.functional.gelu, "output")

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """Apply the task-specific LayerNorm if there is one."""
        return y if self.layer_norms is None else self.layer_norms.after_norm(y, name, layer)


class Bottleneck(nn.Module):
    """x + V_D gelu(V_E x).

    Args:
        hidden_size: features of x.
        rank: features between V_E and V_D.
        init_std: standard deviation of V_D's initial values.
    """

    def __init__(self, hidden_size: int, rank: int, init_std: float) -> None:
        super().__init__()
        self.down, self.up = Linear(hidden_size, rank), Linear(rank, hidden_size)
        start_projections(self.down, self.up, init_std)

    def forward(self, x: Float[Tensor, "tokens hidden"]) -> Float[Tensor, "tokens hidden"]:
        """Return x + V_D gelu(V_E x)."""
        linear = kernels.current().linear
        inside = linear(x, self.down).activated(nn.functional.gelu)
        return kernels.current().add(x, linear(inside, self.up))
