"""How long the rest of a training takes: estimated from its newest steps and evaluations."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from mbert_cli.curricula import Phase
from mbert_cli.training.checks import has_inner_adapters
from mbert_cli.training.run_size import run_size
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import TrainingState

Kind = tuple[tuple[str, ...], bool]
"""What steps have in common that take equally long a token: their tasks, and whether everything trains."""

_NEWEST = 30  # steps of each kind
_LEAST = 3  # measured steps without which there is no estimate
# The cost of a token relative to a step that trains everything, used until it is measured. Taken from MiniLM on CPUs. A
# step with a frozen encoder needs no gradients of its weights; without adapters inside it, it needs no backward pass.
_FULL, _FORWARD = 1.0, 0.37
WITH_INNER_ADAPTERS, WITHOUT_INNER_ADAPTERS = 0.75, 0.4


@dataclass
class Work:
    """Steps of one kind that are left.

    Args:
        steps: how many.
        tokens: of a step, on average.
    """

    steps: int
    tokens: float


def work_of(phases: Iterable[tuple[Phase, bool]], row_tokens: Mapping[str, float], skip: int = 0) -> dict[Kind, Work]:
    """Return the steps of some phases, by their kind.

    Args:
        phases: each with whether everything trains in it.
        row_tokens: of a row of each task, on average.
        skip: how many of the first steps were taken already.
    """
    steps: dict[Kind, int] = {}
    tokens: dict[Kind, float] = {}
    for phase, everything in phases:
        batches = {task: sum(task in tasks for tasks in phase.steps) for task in phase.rows}
        of_batch = {task: phase.rows[task] / max(1, count) * row_tokens[task] for task, count in batches.items()}
        left, skip = phase.steps[skip:], max(0, skip - len(phase.steps))
        for tasks in left:
            kind = (tuple(tasks), everything)
            steps[kind] = steps.get(kind, 0) + 1
            tokens[kind] = tokens.get(kind, 0.0) + sum(of_batch[task] for task in tasks)
    return {kind: Work(count, tokens[kind] / count) for kind, count in steps.items()}


class TimeLeft:
    """Estimates how long the rest of a training takes, its evaluations on dev files and its saves included.

    A token of a step costs what the median token of the newest steps of its kind did. The first step of a kind does not
    count: it compiles, allocates and reads what later ones find ready. A kind that was not seen yet is estimated from
    the others, an evaluation or a save that was not seen yet from its tokens or from a guess.

    Args:
        work: the steps that are left.
        evaluations: how many are left.
        dev_tokens: of an evaluation.
        saves: how many epochs are left to be saved.
        save_seconds: a guess how long one takes.
        frozen_cost: the cost of a token with a frozen encoder, relative to a step that trains everything.
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
        """Account for a step."""
        if kind in self._rates:
            self._rates[kind].append(seconds / max(1, tokens))
        else:
            self._rates[kind] = deque(maxlen=_NEWEST)
        if kind in self.work:
            self.work[kind].steps = max(0, self.work[kind].steps - 1)

    def evaluated(self, seconds: float) -> None:
        """Account for an evaluation on all dev files."""
        self._dev_seconds = seconds
        self.evaluations -= 1

    def saved(self, seconds: float) -> None:
        """Account for the save of an epoch."""
        self._save_seconds = seconds
        self.saves -= 1

    def seconds(self) -> float | None:
        """Return the estimate; None where too little was measured."""
        if sum(map(len, self._rates.values())) < _LEAST:
            return None
        steps = sum(each.steps * each.tokens * self._rate(kind) for kind, each in self.work.items())
        dev = self._dev_tokens * self._full_rate() * _FORWARD if self._dev_seconds is None else self._dev_seconds
        return steps + self.evaluations * dev + self.saves * self._save_seconds

    def _rate(self, kind: Kind) -> float:
        """Return the seconds that a token of a step takes."""
        rates = self._rates.get(kind)
        return median(rates) if rates else self._full_rate() * self._cost(kind[1])

    def _full_rate(self) -> float:
        """Return the seconds of a token where everything trains, as far as is known from all kinds."""
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
    epochs = range(state.epoch + 1, training.epochs + 1)
    remaining = [(phase, phases.trains_everything(phase)) for epoch in epochs for phase in phases.of_epoch(epoch)]
    row_tokens = {task: float(each.lengths.mean()) for task, each in data.train.items()}
    return TimeLeft(
        work_of(remaining, row_tokens, state.epoch_step),
        evaluations=sum(epoch > training.early_epochs for epoch in epochs),
        dev_tokens=sum(int(each.lengths.sum()) for each in data.dev.values()),
        saves=len(epochs),
        save_seconds=run_size(setup).save_seconds,
        frozen_cost=WITH_INNER_ADAPTERS if has_inner_adapters(setup.recipe) else WITHOUT_INNER_ADAPTERS,
    )
