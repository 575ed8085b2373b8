"""The plain sum of the losses."""

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.loss_balancing import LossBalancing, Losses, stacked


class Total(LossBalancing):
    """L = L_1 + L_2 + ... + L_K, where L_k is the mean loss of a batch. Source: Multi-BERT paper, "Baseline"."""

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the sum of the losses."""
        return stacked(losses).sum()

    def fixed_weights(self) -> Float[Tensor, " tasks"]:
        """Return ones."""
        return torch.ones(self.num_tasks)
