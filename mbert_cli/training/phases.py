"""The phases of all epochs of a run."""

from collections.abc import Iterator, Mapping
from functools import cached_property

from mbert_cli.curricula import Curriculum, Phase
from mbert_cli.model.components import build
from mbert_cli.recipe.sections import Recipe


def epoch_rows(size: int, share: float) -> int:
    """Return the number of rows that a curriculum counts for a training set of `size` rows: at least 1."""
    return max(1, round(share * size))


class RunPhases:
    """Which tasks each step of a run contains, and which parameters it trains.

    Args:
        recipe: the recipe.
        sizes: number of rows of each task's training set, in the order of the recipe.
    """

    def __init__(self, recipe: Recipe, sizes: Mapping[str, int]) -> None:
        training = recipe.training
        self.epochs = range(1, training.epochs + 1)
        self._curriculum: Curriculum = build("curricula", recipe.curriculum, training.epochs)
        self._sizes = {name: epoch_rows(size, recipe.tasks[name].epoch_share) for name, size in sizes.items()}
        self._batch_size = training.batch_size
        self._freezes_encoder = training.freeze_encoder

    def of_epoch(self, epoch: int) -> list[Phase]:
        """Return the phases of an epoch, in order. Epochs count from 1."""
        return self._curriculum.phases(epoch, self._sizes, self._batch_size)

    def __iter__(self) -> Iterator[Phase]:
        """Yield the phases of all epochs, in order."""
        for epoch in self.epochs:
            yield from self.of_epoch(epoch)

    def trains_everything(self, phase: Phase) -> bool:
        """Whether a phase trains the encoder, too. Otherwise it trains only the adapters and heads of its tasks."""
        return phase.trains == "everything" and not self._freezes_encoder

    @cached_property
    def total_steps(self) -> int:
        """Number of optimizer steps of the run."""
        return sum(len(phase.steps) for phase in self)

    def combine_losses(self) -> bool:
        """Whether any step of the run has several tasks, so that their losses must be balanced."""
        return any(len(tasks) > 1 for phase in self for tasks in phase.steps)

    def combination(self, epoch: int) -> str:
        """Return how an epoch combines the tasks: `simultaneous`, `alternating` or `sequential`."""
        phases = self.of_epoch(epoch)
        if any(len(tasks) > 1 for phase in phases for tasks in phase.steps):
            return "simultaneous"
        return "alternating" if any(len(phase.rows) > 1 for phase in phases) else "sequential"
