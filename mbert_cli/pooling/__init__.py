"""Pooling: one file a strategy, its name the `kind` in a recipe; here is the contract."""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.errors import CheckpointError


class Pooling(nn.Module, ABC):
    """Turns the hidden states of each sentence into one vector."""

    pooler: bool = False
    """Whether the encoder's own tanh pooler follows."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
        """Return one vector a sentence, from its own tokens only."""

    def padded(
        self, x: Float[Tensor, "sentences width hidden"], mask: Bool[Tensor, "sentences width"]
    ) -> Float[Tensor, "sentences hidden"]:
        """Return the same of sentences that are padded; `mask` is True at real tokens.

        A pooling that has no such form can do all but `mbert export`.

        Raises:
            CheckpointError: it has none.
        """
        raise CheckpointError(f"the pooling {type(self).__name__} has no padded form, so that it cannot be exported.")
