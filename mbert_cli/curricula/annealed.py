"""Annealed sampling."""

from mbert_cli.curricula import Sampling


class Annealed(Sampling):
    """One task per step, in random order. Task i gets a share of the steps proportional to N_i^alpha_e.

    N_i is the number of training rows of task i. The shares change from proportional to N_i to nearly equal.

    alpha_e = 1 - 0.8 (e - 1) / (E - 1) in epoch e of E; 1 if there is one epoch. Source: Stickland & Murray 2019,
    "Sampling Tasks": tasks interfere most towards the end of training, so the last epochs train them equally.
    `Sampling` lists the differences from the source.

    Args:
        epochs: E, number of epochs of the run.
        steps: number of steps of an epoch; by default as many as one pass over all training sets takes.
    """

    knows_the_end = True

    def alpha(self, epoch: int) -> float:
        """Return alpha_e."""
        return 1 - 0.8 * (epoch - 1) / max(1, self.epochs - 1)
