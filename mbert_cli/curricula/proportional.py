"""Sampling in proportion to size."""

from mbert_cli.curricula import Sampling


class Proportional(Sampling):
    """One task a step, in random order, as often as it has batches: an epoch takes every row of every task once.

    Source: Stickland & Murray 2019, "Sampling Tasks", with alpha = 1; see `Sampling` for what differs.

    Args:
        epochs: how many the run has.
        steps: of an epoch; by default one pass over all training sets.
    """

    def alpha(self, epoch: int) -> float:
        """Return 1."""
        return 1.0
