"""BitFit."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.adapter import Adapter, Linear, Norm
from mbert_cli.encoder.shape import EncoderShape


class BitFit(Adapter):
    """BitFit: task-specific biases at every linear layer and LayerNorm of the encoder.

    Source: Ben Zaken et al. 2022, section 3. The source trains the biases of the encoder itself. Here each task adds
    its own offsets to the shared biases. The offsets start at zero, so a new adapter does not change the encoder. The
    pooler has no offset. An encoder without biases (ModernBERT) gets the offsets, too.
    Parameters per task: num_layers * (7 * hidden_size + intermediate_size) + embedding_size. With a gated feed-forward
    sublayer, intermediate_size counts twice.

    Args:
        shape: sizes of the encoder being adapted.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.formula = f"L * (7 d_m + {'2 ' if shape.gated else ''}d_ff) + d_e"
        hidden = shape.hidden_size
        sizes = {
            "qkv": 3 * hidden,
            "attention_output": hidden,
            "attention_norm": hidden,
            "intermediate": shape.intermediate_width,
            "output": hidden,
            "output_norm": hidden,
        }
        self.embedding_norm = nn.Parameter(torch.zeros(shape.embedding_width))
        self.layers = nn.ModuleList(
            nn.ParameterDict({name: torch.zeros(size) for name, size in sizes.items()}) for _ in range(shape.num_layers)
        )

    def num_weights(self) -> int:
        """L * (7 d_m + d_ff) + d_e; with a gate, 2 d_ff."""
        return sum(parameter.numel() for parameter in self.parameters())

    def after_linear(
        self, y: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], name: Linear, layer: int
    ) -> Float[Tensor, "tokens out"]:
        """Return y plus the task's bias."""
        return y + self._bias(name, layer).to(y.dtype)

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """Return y plus the task's bias."""
        return y + (self.embedding_norm if name == "embedding_norm" else self._bias(name, layer)).to(y.dtype)

    def _bias(self, name: str, layer: int) -> Tensor:
        biases = self.layers[layer]
        assert isinstance(biases, nn.ParameterDict)
        return biases[name]
