"""Soft labels: what another model predicts of the training file, learnt from beside the labels."""

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from mbert_cli.batch import Batch
from mbert_cli.heads import Head


class SoftLabels:
    """Distillation: a student learns from its teacher's predictions; (1 - s) loss(y) + s loss(soft y).

    Probabilities say more of an example than its class, which others it is like. The teacher may be an ensemble, whose
    score one model comes near at the cost of one, or a larger encoder, or anything that appends the same columns to the
    training file. `annealed` has s fall linearly over the run's steps, s = 1 - t / T, so that the student begins with
    what is easy to learn and may surpass its teacher in the end.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; the annealing is that of Clark et al.
    2019, "BAM! Born-Again Multi-Task Networks for Natural Language Understanding".

    Args:
        shares: s of each task; None where it has no soft labels.
        total_steps: T, of the run.
    """

    def __init__(self, shares: Mapping[str, float | Literal["annealed"] | None], total_steps: int) -> None:
        self._shares = shares
        self._total_steps = total_steps

    def loss(self, head: Head, outputs: Tensor, batch: Batch, task: str, step: int) -> Float[Tensor, ""]:
        """Return the loss of a task of a batch.

        Args:
            head: the task's.
            outputs: what it put out for the batch.
            batch: of training.
            task: the task's name.
            step: t, the batch's number within the run, from 0.
        """
        share = self._shares[task]
        if share is None:
            return head.loss(outputs, batch.labels[task])
        if share == "annealed":
            share = max(0.0, 1 - step / self._total_steps)
        soft = head.soft_loss(outputs, batch.soft[task])
        return share * soft + (1 - share) * head.loss(outputs, batch.labels[task])
