"""Round robin."""

from collections.abc import Mapping

from mbert_cli.curricula import Curriculum, Phase
from mbert_cli.curricula.simultaneous import Match, matched_rows


class RoundRobin(Curriculum):
    """One task a step, task after task in the recipe's order, each as often as the others; everything trains.

    Source: Stickland & Murray 2019, "Sampling Tasks", which starts from it. It sees the rows that `simultaneous` sees,
    but each task moves the encoder by a step of its own, so no losses are balanced against each other.

    Args:
        epochs: how many the run has.
        match: to which training set all are matched; see `simultaneous`.
    """

    def __init__(self, epochs: int, *, match: Match = "second_largest") -> None:
        super().__init__(epochs)
        self.match = match

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return the epoch's one phase."""
        rows = matched_rows(sizes, self.match)
        turns = -(-rows // batch_size)
        return [Phase([(task,) for _ in range(turns) for task in sizes], dict.fromkeys(sizes, rows), "everything")]
