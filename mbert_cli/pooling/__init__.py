"""Pooling: how the hidden states of a sentence become one vector.

To add a pooling, add one file here. For `{kind: mean}`, the file is `mean.py` and the class is `Mean`: the kind without
underscores, in any capitals. The base class is `Pooling` in this file. The keyword-only parameters of the constructor
are the options in a recipe. `tests/training/test_gradients.py` tests every file here; `tests/components.py` has the
options for tests. The users' list is in `guide/heads.md`.
"""

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
