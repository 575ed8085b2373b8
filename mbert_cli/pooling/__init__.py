"""Pooling: one file a strategy, its name the `kind` in a recipe; here is the contract."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout


class Pooling(nn.Module, ABC):
    """Turns the hidden states of each sentence into one vector."""

    pooler: bool = False
    """Whether the encoder's own tanh pooler follows."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return one vector a sentence, from its own tokens only."""
