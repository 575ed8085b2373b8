"""Curricula: one file each, its name the `kind` in a recipe; here is the contract. No tensors in this package."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from mbert_cli.randomness import permutation

Scope = Literal["everything", "own"]


@dataclass(frozen=True)
class Phase:
    """A stretch of steps that train the same parameters.

    Args:
        steps: for each step, the tasks that take one batch each.
        rows: how many rows each task runs through in this phase: a whole number of passes over its training set, a
            part of one, or both. Each pass is a fresh permutation, so that a part is a sample without replacement.
        trains: `everything`, or only the step's tasks' `own` parameters: their adapters and heads.
        shuffled: whether the steps are taken in a random order, another one each epoch.
    """

    steps: Sequence[tuple[str, ...]]
    rows: Mapping[str, int]
    trains: Scope
    shuffled: bool = False

    def batches(
        self, sizes: Mapping[str, int], batch_size: int, seed: int, epoch: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield the rows of every step, as a pure function of the arguments.

        Args:
            sizes: rows of each task's training set.
            batch_size: rows of a batch; the last batch of a task may be smaller.
            seed: the run's seed.
            epoch: from 1.

        Yields:
            For each step its tasks, in order, with the indices of their rows.
        """
        streams = {task: self._stream(task, sizes[task], seed, epoch) for task in self.rows}
        taken = dict.fromkeys(self.rows, 0)
        order = permutation(len(self.steps), seed, "steps", epoch) if self.shuffled else range(len(self.steps))
        for index in order:
            step = {}
            for task in self.steps[index]:
                step[task] = streams[task][taken[task] : taken[task] + batch_size]
                taken[task] += batch_size
            yield step

    def _stream(self, task: str, size: int, seed: int, epoch: int) -> np.ndarray:
        rows = self.rows[task]
        passes = [permutation(size, seed, "rows", epoch, task, turn) for turn in range(-(-rows // size))]
        return np.concatenate(passes)[:rows]


class Curriculum(ABC):
    """Says, for an epoch and the sizes of the training sets, which tasks step and what trains.

    Args:
        epochs: how many the run has.
    """

    knows_the_end: ClassVar[bool] = False
    """Whether an epoch depends on how many follow; then a run cannot be resumed with more of them."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    @abstractmethod
    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return the phases of an epoch, in order.

        Args:
            epoch: from 1.
            sizes: rows of each task's training set, in the order of the recipe.
            batch_size: rows of a batch.
        """


def one_after_another(sizes: Mapping[str, int], batch_size: int, trains: Scope) -> list[Phase]:
    """Return a phase for each task, over its whole training set."""
    return [Phase([(task,)] * -(-size // batch_size), {task: size}, trains) for task, size in sizes.items()]


def all_at_once(sizes: Mapping[str, int], batch_size: int, rows: int) -> list[Phase]:
    """Return one phase whose every step takes a batch of each task; each task runs through `rows` rows."""
    return [Phase([tuple(sizes)] * -(-rows // batch_size), dict.fromkeys(sizes, rows), "everything")]


class Sampling(Curriculum):
    """One task a step, everything trains; task i takes a share of the steps proportional to N_i^alpha, N_i its rows.

    Source: Stickland & Murray 2019, "Sampling Tasks", where every step draws its task. Here each task takes its
    expected number of steps, rounded by `apportion`, and their order is drawn: the same on average and without the
    noise of the counts, the length of an epoch is known beforehand, and no task is left out by chance.

    An epoch has as many steps as one pass over every training set takes, or `steps` of them. A task whose steps end
    within a batch of a whole number of passes stops there, with a smaller last batch.

    Args:
        epochs: how many the run has.
        steps: of an epoch; each task takes one at least.
    """

    def __init__(self, epochs: int, *, steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None) -> None:
        super().__init__(epochs)
        self.steps = steps

    @abstractmethod
    def alpha(self, epoch: int) -> float:
        """Return the exponent in an epoch: 1 is proportional to size, 0 the same for all."""

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return the epoch's one phase, its steps in random order."""
        total = self.steps or sum(-(-size // batch_size) for size in sizes.values())
        # Shares of whole batches: at alpha 1 every task has what its pass takes, once the parts are rounded.
        batches = self.steps or sum(sizes.values()) / batch_size
        shares = sampling_shares(sizes, self.alpha(epoch))
        counts = apportion({task: batches * share for task, share in shares.items()}, total)
        steps = [step for task, count in counts.items() for step in [(task,)] * count]
        rows = {task: _up_to_a_pass(count * batch_size, sizes[task], batch_size) for task, count in counts.items()}
        return [Phase(steps, rows, "everything", shuffled=True)]


def sampling_shares(sizes: Mapping[str, int], alpha: float) -> dict[str, float]:
    """Return N_i^alpha / sum_j N_j^alpha of each task."""
    powers = {task: size**alpha for task, size in sizes.items()}
    total = sum(powers.values())
    return {task: power / total for task, power in powers.items()}


def apportion(quotas: Mapping[str, float], total: int) -> dict[str, int]:
    """Round quotas to whole numbers of at least 1 that sum to a total: the largest remainders are rounded up.

    Args:
        quotas: each task's share of the total, unrounded.
        total: what the whole numbers sum to; where it is less than the number of tasks, they are 1 each.
    """
    counts = {task: max(1, int(quota)) for task, quota in quotas.items()}
    while (missing := total - sum(counts.values())) > 0:
        for task in sorted(quotas, key=lambda task: counts[task] - quotas[task])[:missing]:
            counts[task] += 1
    while sum(counts.values()) > total and max(counts.values()) > 1:
        # Tasks that were raised to 1 took from the others: from those that are furthest above their quota.
        most = max((task for task in counts if counts[task] > 1), key=lambda task: counts[task] - quotas[task])
        counts[most] -= 1
    return counts


def _up_to_a_pass(rows: int, size: int, batch_size: int) -> int:
    """Return `rows`, or the whole number of passes over `size` rows that is less by less than a batch."""
    passes = (rows - batch_size) // size + 1
    return min(rows, passes * size)
