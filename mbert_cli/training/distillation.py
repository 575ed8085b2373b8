"""Soft labels: predictions of another model for the training file, used in addition to the labels."""

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from mbert_cli.heads import Head
from mbert_cli.training.portion import Portion


class SoftLabels:
    """Distillation: the loss is (1 - s) loss(y) + s loss(soft y), where a teacher model predicted soft y.

    Probabilities carry more information than the label: they show which other classes are likely. The teacher can be an
    ensemble, so that a single model comes close to its score at lower cost. It can also be a larger encoder, or any
    other program that appends the same columns to the training file. With `annealed`, s falls linearly over the run's
    steps, s = 1 - t / T: the student first learns from the teacher and later from the labels, and can become better
    than the teacher.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; for the annealing, Clark et al. 2019,
    "BAM! Born-Again Multi-Task Networks for Natural Language Understanding".

    Args:
        shares: s of each task; None for a task without soft labels.
        total_steps: T, number of steps of the run.
    """

    def __init__(self, shares: Mapping[str, float | Literal["annealed"] | None], total_steps: int) -> None:
        self._shares = shares
        self._total_steps = total_steps

    def loss(self, head: Head, outputs: Tensor, portion: Portion, task: str, step: int) -> Float[Tensor, ""]:
        """Return the loss of one task in a batch, or this process's part of it: the sum of all parts is the loss.

        Args:
            head: the task's head.
            outputs: output of the head for the examples of this process.
            portion: a training batch.
            task: the task's name.
            step: t, number of the batch in the run, from 0.
        """
        share, batch = self._shares[task], portion.batch
        hard = head.training_loss(outputs, batch.labels[task])
        if not portion.is_whole:
            hard = hard * portion.share(head, task)
        if share is None:
            return hard
        if share == "annealed":
            share = max(0.0, 1 - step / self._total_steps)
        soft = head.soft_loss(outputs, batch.soft[task])
        if not portion.is_whole:
            soft = soft * portion.soft_share(head, task)
        return share * soft + (1 - share) * hard
