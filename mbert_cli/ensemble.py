"""Several models that predict together."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Batch
from mbert_cli.errors import UsageError
from mbert_cli.model import MultiTaskBert


class Ensemble(MultiTaskBert):
    """The mean of what the heads of several models put out: of logits, or of cosines.

    Models that were trained with different seeds err differently, and the mean of them less than each. Reading takes as
    many times as long as there are members. What is fitted on dev (temperatures, cuts) is the ensemble's, and kept in
    the first member's heads.

    Source: Hansen & Salamon 1990, "Neural Network Ensembles"; Lakshminarayanan et al. 2017.

    Args:
        members: of the same tasks and heads.
    """

    def __init__(self, members: Sequence[MultiTaskBert]) -> None:
        first = members[0]
        super().__init__(first.encoder, first.pooling, {name: first.task(name) for name in first.task_names})
        self._members = nn.ModuleList(members)
        self.compute_with(first.compute_dtype, first.kernels)

    def members(self) -> list[MultiTaskBert]:
        """Return the models, in order."""
        return [each for each in self._members if isinstance(each, MultiTaskBert)]

    def compute_with(self, dtype: torch.dtype, kernels: str) -> None:
        """See `MultiTaskBert.compute_with`."""
        super().compute_with(dtype, kernels)
        for each in self._members if hasattr(self, "_members") else ():
            assert isinstance(each, MultiTaskBert)
            each.compute_with(dtype, kernels)

    def folded(self, name: str) -> MultiTaskBert:
        """See `MultiTaskBert.folded`."""
        return Ensemble([each.folded(name) for each in self.members()])

    def vectors(self, batch: Batch) -> Float[Tensor, "sentences hidden"]:
        """Refuse: the members' spaces have nothing to do with each other.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"this model is an ensemble of {len(self._members)}, whose vectors cannot be averaged; "
            "embed with one of its members: RUN/members/1."
        )

    def forward(self, batch: Batch, both_orders: bool = False) -> dict[str, Tensor]:
        """Return the mean of the members' outputs for the batch's examples, for each task."""
        outputs = [each(batch, both_orders) for each in self.members()]
        return {name: mean_outputs([each[name] for each in outputs]) for name in batch.tasks}


def mean_outputs(outputs: Sequence[Tensor]) -> Tensor:
    """Return what an ensemble puts out where its members put out these."""
    return torch.stack(list(outputs)).mean(0)
