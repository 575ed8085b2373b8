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
    """L = sum a_k L_k e^(-s_k) + s_k / 2, with learned s_k = log sigma_k^2; a is 1/2 for regression, else 1.

    Source: Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses". The noise sigma of a
    task's labels is learned together with the network, starting at s = 0. For a constant loss it converges to
    sigma^2 = 2 a L.

    Differs from the source in two points. First, s has a separate optimizer, because learning rates suitable for BERT
    would leave s near 0. Weight decay and clip_norm do not apply to s. Second, s is clamped to -10 to 10: for a task
    whose loss is 0, s would fall and its weight e^-s would grow without limit.

    Args:
        tasks: the goal of each task, in the order of the recipe.
        learning_rate: learning rate of s; with 0.01, s follows the losses within a few hundred steps.
    """

    cancels_factors = True
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

    def fixed_weights(self) -> Float[Tensor, " tasks"]:
        """Return a_k e^(-s_k), with s_k from before the step."""
        return self.factors * (-self.values.detach()).exp()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Store the gradients in the network; update s."""
        self.values.grad = None
        super().backward(losses, shared)
        assert self.values.grad is not None, "the balanced loss depends on s"
        self.descend(self.values.grad)
        with torch.no_grad():
            self.values.clamp_(-_LARGEST, _LARGEST)
