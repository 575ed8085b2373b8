"""Annealed sampling."""

from mbert_cli.curricula import Sampling


class Annealed(Sampling):
    """One task a step, in random order; shares go from proportional to size to nearly equal: N_i^alpha_e.

    alpha_e = 1 - 0.8 (e - 1) / (E - 1) in epoch e of E; 1 where there is one epoch. Source: Stickland & Murray 2019,
    "Sampling Tasks": tasks interfere most towards the end, so the end trains them equally. See `Sampling` for what
    differs.

    Args:
        epochs: how many the run has: E.
        steps: of an epoch; by default as many as one pass over all training sets takes.
    """

    knows_the_end = True

    def alpha(self, epoch: int) -> float:
        """Return alpha_e."""
        return 1 - 0.8 * (epoch - 1) / max(1, self.epochs - 1)
