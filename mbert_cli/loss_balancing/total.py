"""The plain sum of the losses."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.loss_balancing import LossBalancing


class Total(LossBalancing):
    """L = L_1 + L_2 + ... + L_K, the losses being batch means. Source: Multi-BERT paper, "Baseline"."""

    def __call__(self, losses: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Return the sum of the losses."""
        return torch.stack(list(losses.values())).sum()
