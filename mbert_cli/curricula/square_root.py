"""Sampling in proportion to the square root of size."""

from mbert_cli.curricula import Sampling


class SquareRoot(Sampling):
    """One task a step, in random order; steps are shared out in proportion to the square roots of the tasks' sizes.

    Source: Stickland & Murray 2019, "Sampling Tasks", with alpha = 1/2; see `Sampling` for what differs. Large tasks
    see a part of their rows in an epoch, small ones see theirs several times.

    Args:
        epochs: how many the run has.
        steps: of an epoch; by default as many as one pass over all training sets takes.
    """

    def alpha(self, epoch: int) -> float:
        """Return 1/2."""
        return 0.5
