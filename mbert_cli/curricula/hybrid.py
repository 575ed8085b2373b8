"""The paper's hybrid curriculum."""

from collections.abc import Mapping

from mbert_cli.curricula import Curriculum, Phase, all_at_once, one_after_another
from mbert_cli.curricula.simultaneous import Match, matched_rows


class Hybrid(Curriculum):
    """Odd epochs are sequential and train only the adapters and head of the current task; even epochs are simultaneous.

    Source: Multi-BERT paper, "Multi-task Training Curriculum (original)". Epochs count from 1.

    Args:
        epochs: number of epochs of the run.
        match: the training set that sets the length of simultaneous epochs; see `simultaneous`.
    """

    def __init__(self, epochs: int, *, match: Match = "second_largest") -> None:
        super().__init__(epochs)
        self.match = match

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return one phase per task in odd epochs, and one phase for all tasks in even epochs."""
        if epoch % 2:
            return one_after_another(sizes, batch_size, "own")
        return all_at_once(sizes, batch_size, matched_rows(sizes, self.match))
