"""The sum of the squared losses."""

from jaxtyping import Float
from torch import Tensor

from mbert_cli.loss_balancing import LossBalancing, Losses, stacked


class Squared(LossBalancing):
    """L = L_1^2 + L_2^2 + ... + L_K^2, where L_k is the mean loss of a batch.

    The gradient of task k has the weight 2 L_k, so large losses get large weights.
    Source: Multi-BERT paper, "Loss-balance Techniques".
    """

    def forward(self, losses: Losses) -> Float[Tensor, ""]:
        """Return the sum of the squared losses."""
        return stacked(losses).square().sum()
