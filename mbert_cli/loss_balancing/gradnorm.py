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


class GradNorm(LearnedBalancing):
    """L = sum w_k L_k; w is learned so that all tasks train at similar rates.

    Source: Chen, Badrinarayanan, Lee & Rabinovich 2018, "GradNorm". G_k is the norm of the gradient of w_k L_k on the
    weight of the last shared layer. r_k is L_k / L_k(0) divided by its mean over the tasks; a larger r_k means that the
    task trains more slowly. w descends sum |G_k - mean(G) r_k^alpha|, where mean(G) r_k^alpha is held constant. Then w
    is scaled to the sum K. The network's update in a step uses w from before the step. The gradient of w does not reach
    the network.

    The source does not say how w stays positive. Here w is at least 0.001 before it is scaled. L_k(0) is the loss in
    the first step with several tasks. 1e-8 is added to both losses in L_k / L_k(0). If the last shared weight does not
    train, G_k is undefined and the step minimises the plain sum.

    Args:
        tasks: the goal of each task, in the order of the recipe.
        alpha: how strongly slow tasks gain weight; 0 makes the gradient norms of all tasks equal.
        learning_rate: learning rate of w.
    """

    cancels_factors = True
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
        """Return the weighted sum of the losses, with constant weights."""
        return (self.values.detach() * stacked(losses)).sum()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Store the gradients of the weighted sum in the network; update w."""
        if shared.last_weight is None:
            stacked(losses).sum().backward()
            return
        gradients = [_gradient(loss, shared.last_weight) for loss in losses.values()]
        shared.add_all(gradients)
        norms = torch.stack([gradient.norm() for gradient in gradients])
        super().backward(losses, shared)
        self._learn(norms, stacked(losses).detach())

    def _learn(self, norms: Float[Tensor, " tasks"], losses: Float[Tensor, " tasks"]) -> None:
        self.initial.copy_(torch.where(self.updates == 0, losses, self.initial))
        ratios = (losses + _EPSILON) / (self.initial + _EPSILON)
        weighted = self.values * norms
        target = (weighted.mean() * (ratios / ratios.mean()) ** self.alpha).detach()
        (gradient,) = torch.autograd.grad((weighted - target).abs().sum(), self.values)
        self.descend(gradient)
        with torch.no_grad():
            self.values.clamp_(min=_SMALLEST)
            self.values.mul_(self.num_tasks / self.values.sum())


def _gradient(loss: Float[Tensor, ""], weight: Tensor) -> Tensor:
    """Return a loss's gradient on a weight; 0 if the loss does not depend on it."""
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)
    return torch.zeros_like(weight) if gradient is None else gradient
