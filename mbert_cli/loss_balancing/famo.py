"""FAMO: fast adaptive multitask optimization."""

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mbert_cli.loss_balancing import LearnedBalancing, Losses, Shared, stacked
from mbert_cli.metrics import Goal

_EPSILON = 1e-8


class FAMO(LearnedBalancing):
    """L = sum z_k log(L_k) / c with z = softmax(w); aims to reduce every task's loss by the same factor per step.

    Source: Liu, Feng, Stone & Liu 2023, "FAMO: Fast Adaptive Multitask Optimization". c = sum z_k / L_k is held
    constant, so the gradient is a weighted mean of the tasks' gradients. After the step, the losses of the same batch
    are computed again. w then descends along the gradient of sum z_k (log L_k before - log L_k after), with L2 decay.
    A task that improved less than the others gets a larger weight. Each step costs one backward pass and one extra
    forward pass, for any number of tasks.

    The lower bound of the losses is 0, and 1e-8 is added to them, as in the authors' code. The authors' second forward
    pass draws new dropout masks, which adds noise to the gradient of w. Here the second pass repeats the masks of the
    first, so only the step changes the losses. A second pass without dropout would not do: the difference would then
    include the effect of dropout.

    Args:
        tasks: the goal of each task, in the order of the recipe.
        learning_rate: learning rate of w.
        decay: gamma, L2 decay of w, so that recent steps count more. The default is the paper's; the authors' code uses
            0.01.
    """

    cancels_factors = True

    def __init__(
        self,
        tasks: Mapping[str, Goal],
        *,
        learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.025,
        decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.001,
    ) -> None:
        super().__init__(tasks, 0.0, learning_rate, decay)
        self._before: Tensor | None = None

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return sum z_k log(L_k) / c; in its gradient the tasks have the weights z_k / L_k, scaled to the sum 1."""
        raised = stacked(losses) + _EPSILON
        z = self.values.detach().softmax(0)
        return (z * raised.log()).sum() / (z / raised).sum().detach()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Store the gradients in the network; keep the losses for `after_step`."""
        super().backward(losses, shared)
        self._before = stacked(losses).detach()

    def after_step(self, losses_again: Callable[[], Losses]) -> None:
        """Update w from the change of the losses in this step."""
        assert self._before is not None, "backward() runs before after_step()"
        gain = (self._before + _EPSILON).log() - (stacked(losses_again()).detach() + _EPSILON).log()
        (gradient,) = torch.autograd.grad(self.values.softmax(0), self.values, gain)
        self.descend(gradient)
