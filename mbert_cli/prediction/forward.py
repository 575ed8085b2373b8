"""What a prediction computes for each batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mbert_cli.batch import Batch
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.sentence_model import SentenceModel


@dataclass(frozen=True)
class Forward:
    """The forward pass of a model for one task.

    Args:
        model: the model, in evaluation mode.
        task: the task.
        both_orders: see `SentenceModel.forward`.
        vectors: compute the inputs of the head instead of its outputs.
    """

    model: SentenceModel
    task: str
    both_orders: bool = False
    vectors: bool = False

    def __call__(self, batch: Batch) -> Tensor:
        """Return one row in fp32 for each example of a batch that contains only this task."""
        if not self.vectors:
            return self.model(batch, self.both_orders)[self.task].float()
        assert isinstance(self.model, MultiTaskBert), "an ensemble has no sentence vectors"
        return self.model.vectors(batch).float()

    def settings(self) -> tuple[tuple[torch.dtype, str], ...]:
        """Return the data type and the kernels of each member of the model."""
        return tuple((each.compute_dtype, each.kernels) for each in self.model.members())

    def weights(self) -> list[Tensor]:
        """Return the parameters that the forward pass reads."""
        parts = [part for each in self.model.members() for part in (each.encoder, each.task(self.task))]
        return [parameter for part in parts for parameter in part.parameters()]
