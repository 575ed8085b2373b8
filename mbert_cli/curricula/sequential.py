"""Sequential training."""

from collections.abc import Mapping

from mbert_cli.curricula import Curriculum, Phase, one_after_another


class Sequential(Curriculum):
    """One task after another in the recipe's order, each over its whole training set.

    Source: Multi-BERT paper, Table 4, first row. Nothing is frozen by default, so the encoder may forget earlier tasks
    while it trains later ones. That row of the table shows this effect.

    Args:
        epochs: number of epochs of the run.
        freeze: train only the adapters and head of the current task, as in the odd epochs of `hybrid`.
    """

    def __init__(self, epochs: int, *, freeze: bool = False) -> None:
        super().__init__(epochs)
        self.freeze = freeze

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return one phase per task."""
        return one_after_another(sizes, batch_size, "own" if self.freeze else "everything")
