"""Pooling, one strategy per file. The file name is the `kind` in a recipe. This file defines the base class."""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.errors import CheckpointError


class Pooling(nn.Module, ABC):
    """Reduces the hidden states of each sentence to one vector."""

    pooler: bool = False
    """Whether the encoder's tanh pooler is applied to the result."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return one vector per sentence, computed from the tokens of that sentence only."""

    def padded(
        self, x: Float[Tensor, "sentences width hidden"], mask: Bool[Tensor, "sentences width"]
    ) -> Float[Tensor, "sentences hidden"]:
        """Return the same result for padded sentences; `mask` is True at real tokens.

        Only `mbert export` needs this method.

        Raises:
            CheckpointError: this pooling does not implement it.
        """
        raise CheckpointError(f"the pooling {type(self).__name__} has no padded form, so it cannot be exported.")
