"""An ensemble: several models whose predictions are averaged."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Batch
from mbert_cli.errors import UsageError
from mbert_cli.model.multi_task_bert import MultiTaskBert


class Ensemble(MultiTaskBert):
    """The mean of the outputs (logits or cosines) of several models.

    Models trained with different seeds make different errors, so their mean makes fewer errors than each of them.
    Prediction time is proportional to the number of members. Values fitted on dev (temperatures, cuts) belong to the
    ensemble and are stored in the heads of the first member.

    Source: Hansen & Salamon 1990, "Neural Network Ensembles"; Lakshminarayanan et al. 2017.

    Args:
        members: models with the same tasks and heads.
    """

    def __init__(self, members: Sequence[MultiTaskBert]) -> None:
        first = members[0]
        super().__init__(first.encoder, first.pooling, {name: first.task(name) for name in first.task_names})
        self._members = nn.ModuleList(members)
        self.compute_with(first.compute_dtype, first.kernels)

    def members(self) -> list[MultiTaskBert]:
        """Return the models, in order."""
        return [member for member in self._members if isinstance(member, MultiTaskBert)]

    def compute_with(self, dtype: torch.dtype, kernels: str) -> None:
        """See `MultiTaskBert.compute_with`."""
        super().compute_with(dtype, kernels)
        for member in self._members if hasattr(self, "_members") else ():
            assert isinstance(member, MultiTaskBert)
            member.compute_with(dtype, kernels)

    def folded(self, name: str) -> MultiTaskBert:
        """See `MultiTaskBert.folded`."""
        return Ensemble([member.folded(name) for member in self.members()])

    def vectors(self, batch: Batch) -> Float[Tensor, "sentences hidden"]:
        """Raise an error: vectors of different members are not comparable.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"this model is an ensemble of {len(self._members)}, whose vectors cannot be averaged; "
            "embed with one of its members: RUN/members/1."
        )

    def forward(self, batch: Batch, both_orders: bool = False) -> dict[str, Tensor]:
        """Return the mean of the members' outputs for the batch's examples, for each task."""
        outputs = [member(batch, both_orders) for member in self.members()]
        return {name: mean_outputs([output[name] for output in outputs]) for name in batch.tasks}


def mean_outputs(outputs: Sequence[Tensor]) -> Tensor:
    """Return the output of an ensemble, given the outputs of its members."""
    return torch.stack(list(outputs)).mean(0)
