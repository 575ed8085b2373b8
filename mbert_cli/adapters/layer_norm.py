"""Task-specific LayerNorms."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.adapter import Adapter, Norm
from mbert_cli.encoder.shape import EncoderShape


class LayerNorm(Adapter):
    """Task-specific LayerNorms: s * LN(x) + t, with an s and a t for every LayerNorm of the encoder.

    The result is a LayerNorm with gamma' = s * gamma and beta' = s * beta + t. This is as expressive as a separate
    copy per task, but it follows the shared LayerNorms if they train too. s starts at 1 and t at 0, so a new adapter
    does not change the encoder.

    Source: Houlsby et al. 2019, section 2.1: they train the LayerNorms together with the adapters.
    Parameters per task: 4 * num_layers * hidden_size + 2 * embedding_size. The last term is that of the embeddings.

    Args:
        shape: sizes of the encoder being adapted.
    """

    formula = "4 L d_m + 2 d_e"

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = shape.hidden_size, shape.num_layers
        self.embedding_norm = ScaleShift(shape.embedding_width)
        self.attention_norm = nn.ModuleList(ScaleShift(shape.hidden_size) for _ in range(shape.num_layers))
        self.output_norm = nn.ModuleList(ScaleShift(shape.hidden_size) for _ in range(shape.num_layers))

    def num_weights(self) -> int:
        """4 L d_m + 2 d_e."""
        return 4 * self.num_layers * self.hidden_size + 2 * self.embedding_norm.scale.numel()

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """Return s * y + t."""
        if name == "embedding_norm":
            return self.embedding_norm(y)
        norms = self.attention_norm if name == "attention_norm" else self.output_norm
        return norms[layer](y)


class ScaleShift(nn.Module):
    """s * y + t, element-wise; s starts at 1, t at 0.

    Args:
        features: number of features of y.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))
        self.shift = nn.Parameter(torch.zeros(features))

    def forward(self, y: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """Return s * y + t."""
        return y * self.scale.to(y.dtype) + self.shift.to(y.dtype)
