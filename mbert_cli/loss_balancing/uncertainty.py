"""Uncertainty weighting."""

from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mbert_cli.loss_balancing import LearnedBalancing, Losses, Shared, stacked
from mbert_cli.metrics import Goal

_LARGEST = 10.0


class Uncertainty(LearnedBalancing):
    """L = sum a_k L_k e^(-s_k) + s_k / 2, with s_k = log sigma_k^2 learnt; a is 1/2 for regression, else 1.

    Source: Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses". The noise sigma of a
    task's labels is learnt along with the network, from s = 0; for a constant loss it settles where sigma^2 = 2 a L.

    Differs from the source in two points. s has an optimizer of its own, since the learning rates that suit BERT would
    leave it at 0 all along; it is neither decayed nor part of clip_norm. And s stays within -10 to 10: a task whose
    loss is 0 would have it fall, hence its weight e^-s rise, without end.

    Args:
        tasks: what each task's labels are, in the order of the recipe.
        learning_rate: of s; 0.01 lets it follow the losses within some hundred steps.
    """

    factors: Tensor

    def __init__(
        self,
        tasks: Mapping[str, Goal],
        *,
        learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01,
    ) -> None:
        super().__init__(tasks, 0.0, learning_rate)
        factors = torch.tensor([0.5 if goal == "regression" else 1.0 for goal in tasks.values()])
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the negative log-likelihood of all tasks, up to a constant."""
        return (self.factors * stacked(losses) * (-self.values).exp() + self.values / 2).sum()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Leave the gradients in the network; move s by its own."""
        self.values.grad = None
        super().backward(losses, shared)
        assert self.values.grad is not None, "the balanced loss depends on s"
        self.descend(self.values.grad)
        with torch.no_grad():
            self.values.clamp_(-_LARGEST, _LARGEST)
