"""LayerNorms of a task's own."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.adapter import Adapter, Norm
from mbert_cli.encoder.shape import EncoderShape


class LayerNorm(Adapter):
    """A task's own LayerNorms: s * LN(x) + t, with s and t for every LayerNorm of the encoder.

    That is every LayerNorm with gamma' = s * gamma and beta' = s * beta + t: as expressive as copies of a task's own,
    and tied to the shared ones where those train too. s starts at 1 and t at 0: a fresh adapter changes nothing.

    Source: Houlsby et al. 2019, whose adapters train the LayerNorms with them (section 2.1).
    Parameters of a task: (2 * num_layers + 1) * 2 * hidden_size; the one more is the embeddings'.

    Args:
        shape: sizes of the encoder being adapted.
    """

    formula = "(2 L + 1) * 2 d_m"

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = shape.hidden_size, shape.num_layers
        self.embedding_norm = ScaleShift(shape.hidden_size)
        self.attention_norm = nn.ModuleList(ScaleShift(shape.hidden_size) for _ in range(shape.num_layers))
        self.output_norm = nn.ModuleList(ScaleShift(shape.hidden_size) for _ in range(shape.num_layers))

    def num_weights(self) -> int:
        """(2 L + 1) * 2 d_m."""
        return (2 * self.num_layers + 1) * 2 * self.hidden_size

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """Return s * y + t."""
        if name == "embedding_norm":
            return self.embedding_norm(y)
        own = self.attention_norm if name == "attention_norm" else self.output_norm
        return own[layer](y)


class ScaleShift(nn.Module):
    """s * y + t, feature by feature; s starts at 1, t at 0.

    Args:
        features: of y.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))
        self.shift = nn.Parameter(torch.zeros(features))

    def forward(self, y: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """Return s * y + t."""
        return y * self.scale.to(y.dtype) + self.shift.to(y.dtype)
