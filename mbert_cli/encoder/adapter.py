"""The contract between the encoder and its adapters: sites, each the identity by default."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder.prefix import Prefix

Linear = Literal["qkv", "attention_output", "intermediate", "output"]
"""A linear layer of an encoder layer; `qkv` is the query's, the key's and the value's, beside each other."""
Norm = Literal["embedding_norm", "attention_norm", "output_norm"]
"""A LayerNorm of the encoder; `embedding_norm` is asked for with layer 0."""


class Adapter(nn.Module):
    """One adaptation method for one task, across all layers.

    A subclass overrides the sites where it acts. Keyword-only parameters of its constructor are its options in a
    recipe. `formula` is the paper's count for one task, for people to read; `num_weights` is its value.

    The sites `before_linear`, `after_linear` and `after_norm` are affine outside training, so that what is done there
    can be folded into the encoder's weights: see `encoder.folding`.
    """

    formula: str = ""
    size_option: ClassVar[str | None] = None
    """The option that a budget chooses, in place of the recipe: a rank, or a length."""

    def num_weights(self) -> int:
        """Weights of one task by `formula`: without biases and LayerNorms, as the paper's Table 1 counts."""
        return 0

    def start_from(self, last_layer: nn.Module) -> None:
        """Take initial values from the encoder's last layer, once its checkpoint is loaded."""

    def before_linear(self, x: Float[Tensor, "tokens in"], name: Linear, layer: int) -> Float[Tensor, "tokens in"]:
        """Change what a linear layer reads."""
        return x

    def after_linear(
        self, y: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], name: Linear, layer: int
    ) -> Float[Tensor, "tokens out"]:
        """Change what a linear layer returns; `x` is what it read."""
        return y

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """Change what a LayerNorm returns, feature by feature."""
        return y

    def prefix(self, layer: int) -> Prefix | None:
        """Return keys and values that every token of the task attends to, beside its sentence's own."""
        return None

    def after_attention(self, x: Float[Tensor, "tokens hidden"], layer: int) -> Float[Tensor, "tokens hidden"]:
        """Change the attention sublayer's output, before its residual connection and LayerNorm."""
        return x

    def after_feed_forward(
        self, x: Float[Tensor, "tokens hidden"], layer_input: Float[Tensor, "tokens hidden"], layer: int, layout: Layout
    ) -> Float[Tensor, "tokens hidden"]:
        """Change the feed-forward sublayer's output, before its residual connection and LayerNorm."""
        return x

    def on_top(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "tokens hidden"]:
        """Change the last layer's output, before pooling."""
        return x
