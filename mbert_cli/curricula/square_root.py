"""Sampling in proportion to the square root of size."""

from mbert_cli.curricula import Sampling


class SquareRoot(Sampling):
    """One task per step, in random order; shares are proportional to the square root of the number of rows.

    Source: Stickland & Murray 2019, "Sampling Tasks", with alpha = 1/2. `Sampling` lists the differences from the
    source. In an epoch, large tasks read only a part of their rows, and small tasks read their rows several times.

    Args:
        epochs: number of epochs of the run.
        steps: number of steps of an epoch; by default as many as one pass over all training sets takes.
    """

    def alpha(self, epoch: int) -> float:
        """Return 1/2."""
        return 0.5
