"""The time left of a training run, estimated from its latest steps and evaluations."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mbert_cli.curricula import Phase
from mbert_cli.training.checks import has_inner_adapters
from mbert_cli.training.rounds import lines_of
from mbert_cli.training.run_size import run_size
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import TrainingState

Kind = tuple[tuple[str, ...], bool]
"""Tasks of a step, and whether everything trains. Steps of the same kind take the same time per token."""

_NEWEST = 30  # steps of each kind that are averaged
_LEAST = 3  # measured steps that an estimate needs
# The cost of a token relative to a step that trains everything, used until it is measured. Taken from MiniLM on CPUs. A
# step with a frozen encoder needs no gradients of its weights; without adapters inside it, it needs no backward pass.
_FULL, _FORWARD = 1.0, 0.37
WITH_INNER_ADAPTERS, WITHOUT_INNER_ADAPTERS = 0.75, 0.4


@dataclass
class Work:
    """The remaining steps of one kind.

    Args:
        steps: number of steps.
        tokens: mean number of tokens of a step.
    """

    steps: int
    tokens: float


def work_of(
    phases: Iterable[tuple[Phase, Sequence[tuple[str, ...]], bool]], row_tokens: Mapping[str, float], skip: int = 0
) -> dict[Kind, Work]:
    """Return the remaining steps of some phases, by kind.

    Args:
        phases: the phases, each with the steps of it that are taken, and whether it trains everything.
        row_tokens: mean number of tokens of a row of each task.
        skip: number of steps that have been taken already.
    """
    steps: dict[Kind, int] = {}
    tokens: dict[Kind, float] = {}
    for phase, planned, everything in phases:
        batches = {task: sum(task in tasks for tasks in phase.steps) for task in phase.rows}
        of_batch = {task: phase.rows[task] / max(1, count) * row_tokens[task] for task, count in batches.items()}
        left, skip = planned[skip:], max(0, skip - len(planned))
        for tasks in left:
            kind = (tuple(tasks), everything)
            steps[kind] = steps.get(kind, 0) + 1
            tokens[kind] = tokens.get(kind, 0.0) + sum(of_batch[task] for task in tasks)
    return {kind: Work(count, tokens[kind] / count) for kind, count in steps.items()}


class TimeLeft:
    """Estimates the time left of a training run, with its evaluations and saves.

    The time per token of a kind of steps is the median of its latest steps. The first step of a kind does not count,
    because it compiles kernels and allocates memory. Before a kind has been measured, its time is estimated from the
    other kinds. Before the first evaluation, its time is estimated from its tokens; before the first save,
    `save_seconds` is used.

    Args:
        work: the remaining steps.
        evaluations: number of remaining evaluations.
        dev_tokens: number of tokens of an evaluation.
        saves: number of remaining epochs to save.
        save_seconds: estimated duration of a save.
        frozen_cost: cost of a token with a frozen encoder, relative to a step that trains everything.
    """

    def __init__(
        self,
        work: Mapping[Kind, Work],
        evaluations: int,
        dev_tokens: int,
        saves: int,
        save_seconds: float,
        frozen_cost: float = WITH_INNER_ADAPTERS,
    ) -> None:
        self.work = {kind: Work(each.steps, each.tokens) for kind, each in work.items()}
        self.evaluations = evaluations
        self.saves = saves
        self._dev_tokens = dev_tokens
        self._save_seconds = save_seconds
        self._frozen_cost = frozen_cost
        self._dev_seconds: float | None = None
        self._rates: dict[Kind, deque[float]] = {}

    def step(self, kind: Kind, seconds: float, tokens: int) -> None:
        """Count a step."""
        if kind in self._rates:
            self._rates[kind].append(seconds / max(1, tokens))
        else:
            self._rates[kind] = deque(maxlen=_NEWEST)
        if kind in self.work:
            self.work[kind].steps = max(0, self.work[kind].steps - 1)

    def evaluated(self, seconds: float) -> None:
        """Count an evaluation on all dev files."""
        self._dev_seconds = seconds
        self.evaluations -= 1

    def saved(self, seconds: float) -> None:
        """Count a save of an epoch."""
        self._save_seconds = seconds
        self.saves -= 1

    def seconds(self) -> float | None:
        """Return the estimate in seconds; None if too few steps were measured."""
        if sum(map(len, self._rates.values())) < _LEAST:
            return None
        steps = sum(each.steps * each.tokens * self._rate(kind) for kind, each in self.work.items())
        dev = self._dev_tokens * self._full_rate() * _FORWARD if self._dev_seconds is None else self._dev_seconds
        return steps + self.evaluations * dev + self.saves * self._save_seconds

    def _rate(self, kind: Kind) -> float:
        """Return the seconds per token of a kind of steps."""
        rates = self._rates.get(kind)
        return median(rates) if rates else self._full_rate() * self._cost(kind[1])

    def _full_rate(self) -> float:
        """Return the seconds per token of a step that trains everything, estimated from all kinds."""
        return median(rate / self._cost(everything) for (_, everything), rates in self._rates.items() for rate in rates)

    def _cost(self, everything: bool) -> float:
        return _FULL if everything else self._frozen_cost


def time_left_of(setup: TrainingSetup, state: TrainingState) -> TimeLeft:
    """Return the estimator for a run.

    Args:
        setup: what is trained.
        state: how far the run is.
    """
    training, phases, data = setup.recipe.training, setup.phases, setup.data
    remaining = [
        (phase, steps, phases.trains_everything(phase))
        for epoch, phase, steps in phases.planned()
        if epoch > state.epoch
    ]
    lines, evaluations = lines_of(training, phases, after=state.step - state.round_steps)
    row_tokens = {task: float(each.lengths.mean()) for task, each in data.train.items()}
    return TimeLeft(
        work_of(remaining, row_tokens, state.epoch_step),
        evaluations=evaluations,
        dev_tokens=sum(int(each.lengths.sum()) for each in data.dev.values()),
        saves=lines,
        save_seconds=run_size(setup).save_seconds,
        frozen_cost=WITH_INNER_ADAPTERS if has_inner_adapters(setup.recipe) else WITHOUT_INNER_ADAPTERS,
    )
