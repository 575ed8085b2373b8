"""Sequential training."""

from collections.abc import Mapping

from mbert_cli.curricula import Curriculum, Phase, one_after_another


class Sequential(Curriculum):
    """Task after task in the recipe's order, each over its whole training set.

    Source: Multi-BERT paper, Table 4, first row. It freezes nothing: the later tasks may make the encoder forget the
    earlier ones, which is what that row shows.

    Args:
        epochs: how many the run has.
        freeze: train only the current task's adapters and head, as the odd epochs of `hybrid` do.
    """

    def __init__(self, epochs: int, *, freeze: bool = False) -> None:
        super().__init__(epochs)
        self.freeze = freeze

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return a phase for each task."""
        return one_after_another(sizes, batch_size, "own" if self.freeze else "everything")
