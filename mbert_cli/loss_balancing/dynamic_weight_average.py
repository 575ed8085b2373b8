"""Dynamic weight average."""

from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mbert_cli.loss_balancing import LossBalancing, Losses, Shared, stacked
from mbert_cli.metrics import Goal

_EPSILON = 1e-8


class DynamicWeightAverage(LossBalancing):
    """L = sum lambda_k L_k with lambda_k = K softmax_k(w_k / T) and w_k = L_k(t-1) / L_k(t-2).

    A task whose loss stops falling gets a larger weight. L_k(t) is the mean of the task's unweighted batch losses over
    epoch t. Every lambda_k is 1 until two epochs are complete.

    Source: Liu, Johns & Davison 2019, "End-to-End Multi-Task Learning with Attention"; Multi-BERT paper, "Loss-balance
    Techniques".

    The paper does not define an epoch for curricula that combine losses in some epochs only. Here only steps with
    several tasks count, and only epochs that have such steps. Under `hybrid` a simultaneous epoch is compared with the
    previous simultaneous epoch. The sequential epoch between them is ignored because it trains other parameters.

    1e-8 is added to both losses in the ratio. This avoids a division by zero, and a task whose loss is 0 in both epochs
    gets the ratio 1.

    Args:
        tasks: the goal of each task, in the order of the recipe.
        temperature: T; a larger value makes the weights more equal.
    """

    sums: Tensor
    steps: Tensor
    last: Tensor
    before: Tensor
    epochs: Tensor

    def __init__(
        self,
        tasks: Mapping[str, Goal],
        *,
        temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0,
    ) -> None:
        super().__init__(tasks)
        self.temperature = temperature
        for name in ("sums", "last", "before"):
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
        for name in ("steps", "epochs"):
            self.register_buffer(name, torch.tensor(0))

    def weights(self) -> Float[Tensor, " tasks"]:
        """Return the weights lambda_k of this epoch; their sum is K."""
        ratio = (self.last + _EPSILON) / (self.before + _EPSILON)
        weights = self.num_tasks * (ratio / self.temperature).softmax(0)
        return torch.where(self.epochs < 2, 1.0, weights)

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the weighted sum of the losses."""
        values = stacked(losses)
        return (self.weights().to(values.dtype) * values).sum()

    def fixed_weights(self) -> Float[Tensor, " tasks"]:
        """Return the weights lambda_k of this epoch."""
        return self.weights()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Store the gradients of the weighted sum in the network; record the unweighted losses."""
        super().backward(losses, shared)
        self.sums += stacked(losses).detach()
        self.steps += 1

    def end_epoch(self) -> None:
        """Shift the epoch means by one epoch. Ignore an epoch without steps of several tasks."""
        if self.steps > 0:
            self.before.copy_(self.last)
            self.last.copy_(self.sums / self.steps)
            self.sums.zero_()
            self.steps.zero_()
            self.epochs += 1
