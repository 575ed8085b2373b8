"""Loss balancing: one file a method, its name the `kind` in a recipe; here is the contract."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor


class LossBalancing(ABC):
    """Turns the losses of a step's tasks into the one loss that is minimised.

    It is asked only where a step holds several tasks; a step of one task minimises that task's loss as it is.
    """

    @abstractmethod
    def __call__(self, losses: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Return the balanced loss.

        Args:
            losses: the mean loss of each task's batch.
        """
