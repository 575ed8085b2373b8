"""When the dev files are scored, and when a run ends.

A *round* is a part of a run that ends with a line in metrics.jsonl: an epoch or, with `evaluate_every`, so many steps.
The last round may be shorter.
"""

import time

import torch

from mbert_cli.machine.process_group import Processes
from mbert_cli.recipe.ending import Reason
from mbert_cli.recipe.field_types import seconds_in
from mbert_cli.recipe.sections import TrainingSection
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.training.phases import RunPhases
from mbert_cli.training.pruning import Pruning
from mbert_cli.training.state import TrainingState


class Rounds:
    """Decides after each step whether a round ends and whether the run ends.

    All decisions are functions of the state, so that a resumed run decides alike. Only `max_time` reads a clock: the
    clock of the first process, which sends its decision to the others.

    Args:
        training: `evaluate_every` and the limits of the run.
        phases: the steps of the run.
        state: how far the run is.
        processes: the processes that train together.
        pruning: ends a trial of a search early; None for other runs.
    """

    def __init__(
        self,
        training: TrainingSection,
        phases: RunPhases,
        state: TrainingState,
        processes: Processes,
        pruning: Pruning | None = None,
    ) -> None:
        self._training = training
        self._phases = phases
        self._state = state
        self._processes = processes
        self._pruning = pruning
        self._limit = None if training.max_time is None else seconds_in(training.max_time)
        self._started = 0.0 if self._limit is None else time.monotonic() - state.spent
        self._time_is_up = self._limit is not None and state.spent >= self._limit

    def are_left(self) -> bool:
        """Whether the run goes on. If a limit was reached within a round, that round must still be scored."""
        state = self._state
        return state.epoch < self._training.epochs and (self.reason() is None or state.round_steps > 0)

    def epoch_is_over(self) -> bool:
        """Whether all steps of the current epoch are taken."""
        return self._state.epoch_step == self._phases.steps_of(self._state.epoch + 1)

    def is_over(self) -> bool:
        """Whether the current round ends here."""
        state, every = self._state, self._training.evaluate_every
        if state.round_steps == 0:
            return False
        if self.reason() is not None:
            return True
        return self.epoch_is_over() if every is None else state.step % every == 0

    def reason(self) -> Reason | None:
        """Return why the run ends here, or None if it goes on.

        `patience` ends a run within an epoch only if the epoch has one phase: a curriculum that trains the tasks one
        after another completes the epoch, so that each task has had its phase.
        """
        training, state = self._training, self._state
        if state.epoch >= training.epochs:
            return "epochs"
        over = self.epoch_is_over()
        if over and state.epoch + 1 == training.epochs:
            return "epochs"
        if training.max_steps is not None and state.step >= training.max_steps:
            return "max_steps"
        if self._time_is_up:
            return "max_time"
        if self._pruning is not None and self._pruning.is_due:
            return "pruned"
        if training.patience is not None and state.stale >= training.patience:
            between = over or state.epoch_step == 0
            return "patience" if between or len(self._phases.of_epoch(state.epoch + 1)) == 1 else None
        return None

    def recorded_reason(self, record: EpochRecord) -> Reason | None:
        """Return `reason` for the record of the round that has just ended; None if the number of records shows it."""
        if self._pruning is not None:
            self._pruning.note(record)
        reason, training = self.reason(), self._training
        return None if reason == "epochs" and self._state.rounds == training.rounds else reason

    def note_time(self) -> None:
        """Read the clock, if there is a limit; all processes call this at the same steps."""
        if self._limit is None:
            return
        self._state.spent = time.monotonic() - self._started
        is_up = torch.tensor(float(self._processes.is_first and self._state.spent >= self._limit))
        self._time_is_up = bool(self._processes.add(is_up) > 0)

    def at_most(self, seconds: float | None) -> float | None:
        """Return an estimate of the time left, at most the time until `max_time`; None if it is unknown."""
        if self._limit is None:
            return seconds
        left = max(0.0, self._limit - self._state.spent)
        return left if seconds is None else min(seconds, left)


def lines_of(training: TrainingSection, phases: RunPhases, after: int = 0) -> tuple[int, int]:
    """Return how many lines metrics.jsonl gets if no limit but `max_steps` ends the run, and how many have scores.

    Args:
        training: the settings.
        phases: the steps of the run.
        after: number of steps that have been taken; only later lines are counted.
    """
    total, every = phases.total_steps, training.evaluate_every
    if every is None:
        ends = phases.epoch_ends
        early = ends[: training.early_epochs]
    else:
        ends = [*range(every, total, every), total]
        before = sum(map(phases.steps_of, range(1, training.early_epochs + 1)))
        early = [end for end in ends if end <= before]
    left, excluded = (sum(end > after for end in each) for each in (ends, early))
    # The end of a run is always scored.
    return left, max(left - excluded, min(1, left))
