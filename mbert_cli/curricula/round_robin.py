"""Round robin."""

from collections.abc import Mapping

from mbert_cli.curricula import Curriculum, Phase
from mbert_cli.curricula.simultaneous import Match, matched_rows


class RoundRobin(Curriculum):
    """One task per step, in turn, in the recipe's order; all tasks get the same number of steps; everything trains.

    Source: Stickland & Murray 2019, "Sampling Tasks", which describes it as the simplest method. It reads the same rows
    as `simultaneous`, but each task updates the encoder in a separate step, so loss balancing does not apply.

    Args:
        epochs: number of epochs of the run.
        match: the training set that sets the number of rows; see `simultaneous`.
    """

    def __init__(self, epochs: int, *, match: Match = "second_largest") -> None:
        super().__init__(epochs)
        self.match = match

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return the epoch's single phase."""
        rows = matched_rows(sizes, self.match)
        turns = -(-rows // batch_size)
        return [Phase([(task,) for _ in range(turns) for task in sizes], dict.fromkeys(sizes, rows), "everything")]
