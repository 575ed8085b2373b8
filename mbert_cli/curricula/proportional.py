"""Sampling in proportion to size."""

from mbert_cli.curricula import Sampling


class Proportional(Sampling):
    """One task per step, in random order; shares are proportional to size, so an epoch reads every row once.

    Source: Stickland & Murray 2019, "Sampling Tasks", with alpha = 1. `Sampling` lists the differences from the source.

    Args:
        epochs: number of epochs of the run.
        steps: number of steps of an epoch; by default one pass over all training sets.
    """

    def alpha(self, epoch: int) -> float:
        """Return 1."""
        return 1.0
