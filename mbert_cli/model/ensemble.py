"""An ensemble: several models whose predictions are averaged."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mbert_cli.batch import Batch
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.sentence_model import SentenceModel


class Ensemble(SentenceModel):
    """The mean of the outputs (logits or cosines) of several models.

    Models trained with different seeds make different errors, so their mean makes fewer errors than each of them.
    Prediction time is proportional to the number of members. An ensemble has no sentence vectors, because vectors of
    different members are not comparable.

    Source: Hansen & Salamon 1990, "Neural Network Ensembles"; Lakshminarayanan et al. 2017.

    Args:
        members: models with the same tasks, heads and encoder sizes.
    """

    def __init__(self, members: Sequence[MultiTaskBert]) -> None:
        super().__init__()
        self.task_names = members[0].task_names
        self._members = nn.ModuleList(members)

    def members(self) -> list[MultiTaskBert]:
        """Return the models, in order."""
        return cast(list[MultiTaskBert], list(self._members))

    def compute_with(self, dtype: torch.dtype, kernels: str) -> None:
        """Set the data type and the kernels of every member."""
        for member in self.members():
            member.compute_with(dtype, kernels)

    def folded(self, name: str) -> "Ensemble":
        """Return an ensemble for the prediction of one task, with its adapters folded into each encoder."""
        return Ensemble([member.folded(name) for member in self.members()])

    def forward(self, batch: Batch, both_orders: bool = False) -> dict[str, Tensor]:
        """Return the mean of the members' outputs for the batch's examples, for each task."""
        outputs = [member(batch, both_orders) for member in self.members()]
        return {name: mean_outputs([output[name] for output in outputs]) for name in batch.tasks}


def mean_outputs(outputs: Sequence[Tensor]) -> Tensor:
    """Return the output of an ensemble, given the outputs of its members."""
    return torch.stack(list(outputs)).mean(0)
