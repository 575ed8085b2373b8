"""The interface between the encoder and its adapters: sites, each the identity by default."""

from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.kernels import Activation
from mbert_cli.encoder.kernels.product import Linear as LinearLayer
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.prefix import Prefix

Linear = Literal["qkv", "attention_output", "intermediate", "output"]
"""A linear layer of an encoder layer; `qkv` is one layer for queries, keys and values, concatenated in this order."""
Norm = Literal["embedding_norm", "attention_norm", "output_norm"]
"""A LayerNorm of the encoder; for `embedding_norm` the layer index is 0."""
Sublayer = Literal["after_attention", "after_feed_forward"]
"""A site after a sublayer of an encoder layer."""


class Bottleneck(NamedTuple):
    """The function x + V_D f(V_E s), where x is the output of a sublayer.

    Args:
        down: V_E.
        up: V_D.
        activation: f; None for the identity.
        source: what s is: `output` for x itself; `layer_input` for the input of the encoder layer. Only bottlenecks
            after the feed-forward sublayer can read `layer_input`.
    """

    down: LinearLayer
    up: LinearLayer
    activation: Activation | None
    source: Literal["output", "layer_input"]


class Adapter(nn.Module):
    """One adaptation method for one task, across all layers.

    A subclass overrides the sites where it acts. The keyword-only parameters of its constructor are its options in a
    recipe. `formula` is the paper's parameter count for one task, as text; `num_weights` returns its value.

    Outside training, the sites `before_linear`, `after_linear` and `after_norm` must be affine, so that they can be
    folded into the encoder's weights: see `encoder.folding`.
    """

    formula: str = ""
    size_option: ClassVar[str | None] = None
    """The option that a parameter budget can set: a rank or a length."""

    def num_weights(self) -> int:
        """Return the value of `formula`: weights per task without biases and LayerNorms, as in the paper's Table 1."""
        return 0

    def start_from(self, encoder: nn.Module) -> None:
        """Copy initial values from the encoder, after its checkpoint is loaded."""

    def before_linear(self, x: Float[Tensor, "tokens in"], name: Linear, layer: int) -> Float[Tensor, "tokens in"]:
        """Change the input of a linear layer."""
        return x

    def after_linear(
        self, y: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], name: Linear, layer: int
    ) -> Float[Tensor, "tokens out"]:
        """Change the output `y` of a linear layer; `x` is its input."""
        return y

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """Change the output of a LayerNorm, element-wise."""
        return y

    def prefix(self, layer: int) -> Prefix | None:
        """Return keys and values that every token of the task attends to, in addition to its sentence."""
        return None

    def after_attention(self, x: Float[Tensor, "tokens hidden"], layer: int) -> Float[Tensor, "tokens hidden"]:
        """Change the output of the attention sublayer, before the residual connection and the LayerNorm."""
        return x

    def after_feed_forward(
        self,
        x: Float[Tensor, "tokens hidden"],
        layer_input: Float[Tensor, "tokens hidden"],
        layer: int,
        layout: AnyLayout,
    ) -> Float[Tensor, "tokens hidden"]:
        """Change the output of the feed-forward sublayer, before the residual connection and the LayerNorm."""
        return x

    def bottleneck(self, site: Sublayer, layer: int) -> Bottleneck | None:
        """Return what the adapter computes at a site as a bottleneck; None if it is another function.

        In training, one operation then multiplies the tokens of all tasks by their bottlenecks.
        """
        return None

    def on_top(self, x: Float[Tensor, "tokens hidden"], layout: AnyLayout) -> Float[Tensor, "tokens hidden"]:
        """Change the output of the last layer, before pooling."""
        return x
