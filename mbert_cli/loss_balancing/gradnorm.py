"""GradNorm."""

from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mbert_cli.loss_balancing import LearnedBalancing, Losses, Shared, stacked
from mbert_cli.metrics import Goal

_EPSILON = 1e-8
_SMALLEST = 1e-3


class Gradnorm(LearnedBalancing):
    """L = sum w_k L_k, with w learnt so that all tasks train at similar rates.

    Source: Chen, Badrinarayanan, Lee & Rabinovich 2018, "GradNorm". With G_k = |grad of w_k L_k| on the last shared
    layer's weight, and r_k = (L_k / L_k(0)) over its mean, how much slower than the others a task has trained, w
    descends sum |G_k - mean(G) r_k^alpha|, the subtrahend held constant; then it is scaled to sum K. A step's network
    update uses the w from before it, and the gradient to w reaches nothing but w.

    The source does not say how w stays positive; here it is at least 0.001 before it is scaled. L_k(0) is the loss of
    the first step that held several tasks; both sides of L_k / L_k(0) are raised by 1e-8. Where the last shared weight
    does not train there is nothing to measure, and the step minimises the plain sum.

    Args:
        tasks: what each task's labels are, in the order of the recipe.
        alpha: how strongly slow tasks are pulled along; 0 makes the gradients of all tasks equally long.
        learning_rate: of w.
    """

    initial: Tensor

    def __init__(
        self,
        tasks: Mapping[str, Goal],
        *,
        alpha: Annotated[float, Field(ge=0, le=100)] = 1.5,
        learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.025,
    ) -> None:
        super().__init__(tasks, 1.0, learning_rate)
        self.alpha = alpha
        self.register_buffer("initial", torch.zeros(len(tasks)))

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the weighted sum of the losses; the weights are constants in it."""
        return (self.values.detach() * stacked(losses)).sum()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Leave the gradients of the weighted sum in the network; move w."""
        if shared.last_weight is None:
            stacked(losses).sum().backward()
            return
        norms = torch.stack([_gradient_norm(loss, shared.last_weight) for loss in losses.values()])
        super().backward(losses, shared)
        self._learn(norms, stacked(losses).detach())

    def _learn(self, norms: Float[Tensor, " tasks"], losses: Float[Tensor, " tasks"]) -> None:
        self.initial.copy_(torch.where(self.updates == 0, losses, self.initial))
        left = (losses + _EPSILON) / (self.initial + _EPSILON)
        weighted = self.values * norms
        target = (weighted.mean() * (left / left.mean()) ** self.alpha).detach()
        (gradient,) = torch.autograd.grad((weighted - target).abs().sum(), self.values)
        self.descend(gradient)
        with torch.no_grad():
            self.values.clamp_(min=_SMALLEST)
            self.values.mul_(self.num_tasks / self.values.sum())


def _gradient_norm(loss: Float[Tensor, ""], weight: Tensor) -> Float[Tensor, ""]:
    """Return the length of a loss's gradient on a weight: 0 where the loss does not depend on it."""
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)
    return loss.new_zeros(()) if gradient is None else gradient.norm()
