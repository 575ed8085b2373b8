"""PCGrad: gradient surgery."""

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.loss_balancing import LossBalancing, Losses, Shared, stacked

Gradients = list[Tensor | None]
"""A task's gradient on each shared parameter; None where its loss does not depend on it."""


class Pcgrad(LossBalancing):
    """The sum of the losses, but of each task's gradient the parts that conflict with the other tasks' are dropped.

    Source: Yu et al. 2020, "Gradient Surgery for Multi-Task Learning". For each task k, against the others j in random
    order: where g_k . g_j < 0, g_k loses its component along g_j, g_j being the task's whole gradient. The update is
    the sum of what is left. Gradients are compared over all shared parameters at once; a task's own parameters keep
    their gradient. Where nothing shared trains, nothing can conflict: the plain sum.

    Every projected gradient is a mixture of the K original ones, so the surgery is done on their K x K inner products,
    and the shared parameters are passed over twice only, however many pairs conflict. A step costs a backward pass a
    task and memory for K gradients of the encoder.
    """

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the sum of the losses."""
        return stacked(losses).sum()

    def backward(self, losses: Losses, shared: Shared) -> None:
        """Leave the mixed gradients in the shared parameters, and each task's gradient in its own."""
        if not shared.parameters:
            super().backward(losses, shared)
            return
        last = len(losses) - 1
        tasks = [_take_gradients(loss, shared, index < last) for index, loss in enumerate(losses.values())]
        # Turned over: for each parameter the gradients of all tasks.
        by_parameter = list(zip(*tasks, strict=True))
        weights = mixture(inner_products(by_parameter)).tolist()
        for parameter, gradients in zip(shared.parameters, by_parameter, strict=True):
            present = [weight * each for weight, each in zip(weights, gradients, strict=True) if each is not None]
            if present:
                parameter.grad = reduce(torch.add, present)


def _take_gradients(loss: Float[Tensor, ""], shared: Shared, keep_graph: bool) -> Gradients:
    """Return a task's gradients on the shared parameters, leaving those on its own parameters in place."""
    loss.backward(retain_graph=keep_graph)
    gradients: Gradients = []
    for parameter in shared.parameters:
        gradient = parameter.grad
        gradients.append(gradient.to_dense() if gradient is not None and gradient.is_sparse else gradient)
        parameter.grad = None
    return gradients


def inner_products(by_parameter: Sequence[Sequence[Tensor | None]]) -> Float[Tensor, "tasks tasks"]:
    """Return the tasks' inner products with each other, summed over all parameters.

    Args:
        by_parameter: for each parameter the gradient of each task; None counts as 0.
    """
    products = torch.zeros(len(by_parameter[0]), len(by_parameter[0]), dtype=torch.float64)
    for gradients in by_parameter:
        like = next((each for each in gradients if each is not None), None)
        if like is not None:
            rows = torch.stack([torch.zeros_like(like) if each is None else each for each in gradients]).flatten(1)
            products = products.to(like.device) + (rows @ rows.T).double()
    return products.cpu()


def mixture(products: Float[Tensor, "tasks tasks"]) -> Float[Tensor, " tasks"]:
    """Return how much of each task's gradient is in the sum of the projected gradients.

    The order in which a task meets the others is drawn from torch's generator, which is seeded before every step.

    Args:
        products: the inner products of the tasks' gradients.
    """
    count = len(products)
    mixed = torch.eye(count, dtype=products.dtype)
    for task in range(count):
        for other in torch.randperm(count).tolist():
            along = mixed[task] @ products[:, other]
            # A gradient can be so short that its square is 0, though it is not.
            if other != task and along < 0 < products[other, other]:
                mixed[task, other] -= along / products[other, other]
    return mixed.sum(0)
