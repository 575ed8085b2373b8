"""The phases of all epochs of a run."""

from collections.abc import Iterator, Mapping, Sequence
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
        self._max_steps = training.max_steps
        self._last_epoch = training.epochs
        self._curriculum: Curriculum = build("curricula", recipe.curriculum, training.epochs)
        self._sizes = {name: epoch_rows(size, recipe.tasks[name].epoch_share) for name, size in sizes.items()}
        self._batch_size = training.batch_size
        self._freezes_encoder = training.freeze_encoder
        self._steps: dict[int, int] = {}

    @cached_property
    def epoch_ends(self) -> list[int]:
        """For each epoch that begins within `max_steps`, the number of steps of the run at its end."""
        ends: list[int] = []
        for epoch in range(1, self._last_epoch + 1):
            ends.append((ends[-1] if ends else 0) + self.steps_of(epoch))
            if self._max_steps is not None and ends[-1] >= self._max_steps:
                ends[-1] = self._max_steps
                break
        return ends

    @property
    def epochs(self) -> range:
        """The epochs that begin within `max_steps`."""
        return range(1, len(self.epoch_ends) + 1)

    def steps_of(self, epoch: int) -> int:
        """Return the number of steps of an epoch, also of those beyond `max_steps`."""
        if epoch not in self._steps:
            self._steps[epoch] = sum(len(phase.steps) for phase in self.of_epoch(epoch))
        return self._steps[epoch]

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
        """Number of optimizer steps of the run, if neither `patience` nor `max_time` ends it."""
        return self.epoch_ends[-1]

    def planned(self) -> Iterator[tuple[int, Phase, Sequence[tuple[str, ...]]]]:
        """Yield the phases of all epochs with their numbers and their steps within `max_steps`, for estimates.

        From a shuffled phase that is cut, steps are taken evenly, because the first ones all belong to the first task.
        """
        left = self.total_steps
        for epoch in self.epochs:
            for phase in self.of_epoch(epoch):
                count, steps = min(left, len(phase.steps)), phase.steps
                if count < len(steps) and phase.shuffled:
                    steps = [steps[(2 * index + 1) * len(steps) // (2 * count)] for index in range(count)]
                yield epoch, phase, steps[:count]
                left -= count

    def combine_losses(self) -> bool:
        """Whether any step of the run has several tasks, so that their losses must be balanced."""
        return any(len(tasks) > 1 for phase in self for tasks in phase.steps)

    def combination(self, epoch: int) -> str:
        """Return how an epoch combines the tasks: `simultaneous`, `alternating` or `sequential`."""
        phases = self.of_epoch(epoch)
        if any(len(tasks) > 1 for phase in phases for tasks in phase.steps):
            return "simultaneous"
        return "alternating" if any(len(phase.rows) > 1 for phase in phases) else "sequential"
