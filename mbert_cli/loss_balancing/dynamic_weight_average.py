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
    """L = sum lambda_k L_k, lambda_k = K softmax_k(w_k / T), w_k = L_k(t-1) / L_k(t-2): a task that stalls weighs more.

    Source: Liu, Johns & Davison 2019, "End-to-End Multi-Task Learning with Attention"; Multi-BERT paper, "Loss-balance
    Techniques". L_k(t) is the mean over epoch t of the task's unweighted batch losses. As long as there are no two
    epochs to compare, every lambda_k is 1.

    The paper does not say what an epoch is under a curriculum that weighs losses in some epochs only. Here only those
    count, and only the steps that hold several tasks: under `hybrid` a simultaneous epoch is compared with the
    simultaneous epoch before it, not with the sequential one between, which trains other parameters.

    Both sides of the ratio are raised by 1e-8, so that a task whose loss is 0 in both epochs counts as one that stalls,
    and 0 in the earlier one divides nothing by zero.

    Args:
        tasks: what each task's labels are, in the order of the recipe.
        temperature: T; the larger, the more alike the weights.
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
        """Return lambda of this epoch; they sum to K."""
        if self.epochs < 2:
            return torch.ones_like(self.last)
        ratio = (self.last + _EPSILON) / (self.before + _EPSILON)
        return self.num_tasks * (ratio / self.temperature).softmax(0)

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the weighted sum of the losses."""
        values = stacked(losses)
        return (self.weights().to(values.dtype) * values).sum()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Leave the gradients of the weighted sum; remember the unweighted losses."""
        super().backward(losses, shared)
        self.sums += stacked(losses).detach()
        self.steps += 1

    def end_epoch(self) -> None:
        """Compare from now on with the epoch that ended; one without a step of several tasks does not count."""
        if self.steps > 0:
            self.before.copy_(self.last)
            self.last.copy_(self.sums / self.steps)
            self.sums.zero_()
            self.steps.zero_()
            self.epochs += 1
