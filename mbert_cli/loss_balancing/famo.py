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


class Famo(LearnedBalancing):
    """L = sum z_k log(L_k) / c with z = softmax(w): every task's loss shall fall by the same factor a step.

    Source: Liu, Feng, Stone & Liu 2023, "FAMO: Fast Adaptive Multitask Optimization". c = sum z_k / L_k, held constant,
    makes it a weighted mean of the gradients. After the step the losses of the same batch are computed again, and w
    descends along the gradient of sum z_k (log L_k before - log L_k after), with L2 decay: a task that improved less
    than the others weighs more. One backward pass a step and one more forward pass, however many tasks.

    The losses' lower bound is taken to be 0, and they are raised by 1e-8, as in the authors' code. There the second
    pass draws other dropout masks, so that much of what w learns from is noise; here it repeats the masks of the first,
    and what differs is the step alone. Evaluation mode would compare losses of two different networks.

    Args:
        tasks: what each task's labels are, in the order of the recipe.
        learning_rate: of w.
        decay: gamma; pulls w to 0, so that recent steps count more. The paper's; the authors' code has 0.01.
    """

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
        """Return the weighted sum of the logarithms; its gradient weighs the tasks by z_k / L_k, scaled to sum 1."""
        raised = stacked(losses) + _EPSILON
        z = self.values.detach().softmax(0)
        return (z * raised.log()).sum() / (z / raised).sum().detach()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Leave the gradients in the network; remember the losses for `after_step`."""
        super().backward(losses, shared)
        self._before = stacked(losses).detach()

    def after_step(self, losses_again: Callable[[], Losses]) -> None:
        """Move w by what the step did to the losses."""
        assert self._before is not None, "a step follows a backward pass"
        gain = (self._before + _EPSILON).log() - (stacked(losses_again()).detach() + _EPSILON).log()
        (gradient,) = torch.autograd.grad(self.values.softmax(0), self.values, gain)
        self.descend(gradient)
