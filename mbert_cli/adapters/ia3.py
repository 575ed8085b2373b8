"""(IA)^3."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.adapter import Adapter, Linear
from mbert_cli.encoder.shape import EncoderShape


class IA3(Adapter):
    """(IA)^3: multiplies keys, values and the inner features of the feed-forward sublayer by learned vectors.

    K' = l_k * K, V' = l_v * V, FFN(x) = W_2 (l_ff * gelu(W_1 x)). Products are element-wise and include the biases.

    Source: Liu et al. 2022, section 3.3. The vectors start at one, so a new adapter does not change the encoder.
    Parameters per task: num_layers * (2 * hidden_size + intermediate_size).

    Args:
        shape: sizes of the encoder being adapted.
    """

    formula = "L * (2 d_m + d_ff)"

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        layers = range(shape.num_layers)
        self.key = nn.ParameterList(torch.ones(shape.hidden_size) for _ in layers)
        self.value = nn.ParameterList(torch.ones(shape.hidden_size) for _ in layers)
        self.inner = nn.ParameterList(torch.ones(shape.intermediate_size) for _ in layers)

    def num_weights(self) -> int:
        """L * (2 d_m + d_ff)."""
        return sum(parameter.numel() for parameter in self.parameters())

    def before_linear(self, x: Float[Tensor, "tokens in"], name: Linear, layer: int) -> Float[Tensor, "tokens in"]:
        """Return l_ff * x for the output layer of the feed-forward sublayer."""
        return x * self.inner[layer].to(x.dtype) if name == "output" else x

    def after_linear(
        self, y: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], name: Linear, layer: int
    ) -> Float[Tensor, "tokens out"]:
        """Multiply the keys in y by l_k and the values by l_v."""
        if name != "qkv":
            return y
        key, value = self.key[layer], self.value[layer]
        return y * torch.cat([torch.ones_like(key), key, value]).to(y.dtype)
