"""PCGrad: gradient surgery."""

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.loss_balancing import LossBalancing, Losses, Shared, stacked
from mbert_cli.randomness import permutation

Gradients = list[Tensor | None]
"""The gradient of one task on each shared parameter; None if its loss does not depend on the parameter."""


class PCGrad(LossBalancing):
    """The sum of the losses, with conflicting components removed from the gradients.

    Source: Yu et al. 2020, "Gradient Surgery for Multi-Task Learning". For each task k and every other task j in random
    order: if g_k . g_j < 0, the component of g_k along g_j is removed; g_j is the original gradient of task j. The
    update is the sum of the projected gradients. The inner product covers all shared parameters at once. Task-specific
    parameters keep their gradient. If no shared parameter trains, the method is the plain sum.

    Every projected gradient is a linear combination of the K original gradients. So the projections are computed from
    the K x K inner products, and the shared parameters are read only twice, for any number of conflicts. A step costs
    one backward pass per task and memory for K gradients of the encoder.
    """

    sums_shared = True
    on_device = False

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the sum of the losses."""
        return stacked(losses).sum()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Store the projected gradients in the shared parameters and plain gradients in task-specific ones."""
        if not shared.parameters:
            super().backward(losses, shared)
            return
        last = len(losses) - 1
        tasks = [_take_gradients(loss, shared, index < last) for index, loss in enumerate(losses.values())]
        for of_task in tasks:
            shared.add_all([gradient for gradient in of_task if gradient is not None])
        # Transposed: for each parameter, the gradients of all tasks.
        by_parameter = list(zip(*tasks, strict=True))
        weights = mixture(inner_products(by_parameter), shared.seed).tolist()
        for parameter, gradients in zip(shared.parameters, by_parameter, strict=True):
            terms = [weight * grad for weight, grad in zip(weights, gradients, strict=True) if grad is not None]
            if terms:
                parameter.grad = reduce(torch.add, terms)


def _take_gradients(loss: Float[Tensor, ""], shared: Shared, keep_graph: bool) -> Gradients:
    """Return and clear the gradients on the shared parameters; keep `.grad` of the task-specific parameters."""
    loss.backward(retain_graph=keep_graph)
    gradients: Gradients = []
    for parameter in shared.parameters:
        gradient = parameter.grad
        gradients.append(gradient.to_dense() if gradient is not None and gradient.is_sparse else gradient)
        parameter.grad = None
    return gradients


def inner_products(by_parameter: Sequence[Sequence[Tensor | None]]) -> Float[Tensor, "tasks tasks"]:
    """Return the inner products between the tasks' gradients, summed over all parameters.

    Args:
        by_parameter: for each parameter, the gradient of each task; None counts as 0.
    """
    products = torch.zeros(len(by_parameter[0]), len(by_parameter[0]), dtype=torch.float64)
    for gradients in by_parameter:
        like = next((grad for grad in gradients if grad is not None), None)
        if like is not None:
            rows = torch.stack([torch.zeros_like(like) if grad is None else grad for grad in gradients]).flatten(1)
            products = products.to(like.device) + (rows @ rows.T).double()
    return products.cpu()


def mixture(products: Float[Tensor, "tasks tasks"], seed: int) -> Float[Tensor, " tasks"]:
    """Return the coefficient of each task's original gradient in the sum of the projected gradients.

    Args:
        products: the inner products of the tasks' gradients.
        seed: determines the random order of the other tasks.
    """
    count = len(products)
    mixed = torch.eye(count, dtype=products.dtype)
    for task in range(count):
        for other in permutation(count, seed, "order", task).tolist():
            along = mixed[task] @ products[:, other]
            # The squared norm of a very small gradient can underflow to 0.
            if other != task and along < 0 < products[other, other]:
                mixed[task, other] -= along / products[other, other]
    return mixed.sum(0)
