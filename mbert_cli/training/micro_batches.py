"""Micro-batches: the parts of a step's batch that a process computes one after another, to use less memory."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mbert_cli.training.portion import Portion

Losses = Mapping[str, Float[Tensor, ""]]
"""A loss of each task of a step."""


def summed_losses(losses_of: Callable[[Portion], Losses], portions: Sequence[Portion]) -> dict[str, Tensor]:
    """Return the sum of the losses of all micro-batches.

    With several micro-batches, the activations of a micro-batch are freed after its forward pass. Each backward pass
    through the result computes them again, so only one micro-batch is in memory at any time.

    Source: Chen, Xu, Zhang & Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost".

    Args:
        losses_of: returns the part of each task's loss that a micro-batch contributes. A second call with the same
            micro-batch must return the same values.
        portions: the micro-batches. All contain the same tasks.
    """
    tasks = portions[0].batch.tasks
    if len(portions) == 1:
        return dict(losses_of(portions[0]))

    def compute(portion: Portion) -> tuple[Tensor, ...]:
        losses = losses_of(portion)
        return tuple(losses[task] for task in tasks)

    # Without reentrance, a balancing may ask for the gradients of single losses, and for those of single parameters.
    parts = [checkpoint(compute, portion, use_reentrant=False) for portion in portions]
    return {task: torch.stack(own).sum() for task, own in zip(tasks, zip(*parts, strict=True), strict=True)}


def accumulate(
    losses_of: Callable[[Portion], Losses], portions: Sequence[Portion], weights: Mapping[str, Tensor | float]
) -> dict[str, Tensor]:
    """Add the gradients of a weighted sum of losses to `.grad`, one micro-batch after another.

    The weights do not depend on the losses. So each micro-batch has one forward and one backward pass.

    Args:
        losses_of: as in `summed_losses`.
        portions: the micro-batches. All contain the same tasks.
        weights: the weight of each task's loss.

    Returns:
        The sum of the losses of all micro-batches, without their graph.
    """
    totals: dict[str, Tensor] = {}
    for portion in portions:
        losses = losses_of(portion)
        torch.stack([weights[task] * loss for task, loss in losses.items()]).sum().backward()
        for task, loss in losses.items():
            totals[task] = totals[task] + loss.detach() if task in totals else loss.detach()
    return totals
