"""Curricula: which tasks each step of an epoch contains, and which parameters train.

To add a curriculum, add one file here. For `{kind: round_robin}`, the file is `round_robin.py` and the class is
`RoundRobin`: the kind without underscores, in any capitals. The base classes are `Curriculum` and `Sampling` in this
file. The constructor takes the number of epochs; its keyword-only parameters are the options in a recipe. A curriculum
computes with numbers of rows; it does not import torch. `tests/training/test_resume.py` tests every file here. The
users' list is in `guide/recipes.md`.
"""

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
    """Consecutive steps that train the same parameters.

    Args:
        steps: for each step, the tasks that contribute one batch each.
        rows: number of rows that each task reads in this phase: full passes over its training set, a part of a pass, or
            both. Each pass is a new permutation, so a part of a pass is a sample without replacement.
        trains: `everything`, or `own`: only the adapters and heads of the tasks in the step.
        shuffled: whether to take the steps in a random order, which differs between epochs.
    """

    steps: Sequence[tuple[str, ...]]
    rows: Mapping[str, int]
    trains: Scope
    shuffled: bool = False

    def batches(
        self, sizes: Mapping[str, int], batch_size: int, seed: int, epoch: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield the rows of every step. The result depends on the arguments only.

        Args:
            sizes: rows of each task's training set.
            batch_size: rows of a batch; the last batch of a task may be smaller.
            seed: the run's seed.
            epoch: from 1.

        Yields:
            For each step, its tasks in order, with the indices of their rows.
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
    """Defines which tasks each step of an epoch contains, and which parameters train.

    Args:
        epochs: number of epochs of the run.
    """

    knows_the_end: ClassVar[bool] = False
    """Whether an epoch depends on the total number of epochs; then a run cannot be resumed with more epochs."""

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
    """Return one phase per task; each covers the whole training set of the task."""
    return [Phase([(task,)] * -(-size // batch_size), {task: size}, trains) for task, size in sizes.items()]


def all_at_once(sizes: Mapping[str, int], batch_size: int, rows: int) -> list[Phase]:
    """Return one phase; each step has a batch of every task, and each task reads `rows` rows."""
    return [Phase([tuple(sizes)] * -(-rows // batch_size), dict.fromkeys(sizes, rows), "everything")]


class Sampling(Curriculum):
    """One task per step, everything trains; task i gets a share of the steps proportional to N_i^alpha.

    N_i is the number of training rows of task i.

    Source: Stickland & Murray 2019, "Sampling Tasks", where every step draws its task at random. Here each task gets
    its expected number of steps, rounded by `apportion`, and only the order is random. The expected number of steps is
    the same, the counts have no noise, the length of an epoch is known in advance, and every task gets steps.

    An epoch has `steps` steps, by default as many as one pass over all training sets takes. If the last step of a task
    would go beyond a whole number of passes by less than a batch, the task ends there with a smaller last batch.

    Args:
        epochs: number of epochs of the run.
        steps: number of steps of an epoch; each task gets at least one.
    """

    def __init__(self, epochs: int, *, steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None) -> None:
        super().__init__(epochs)
        self.steps = steps

    @abstractmethod
    def alpha(self, epoch: int) -> float:
        """Return the exponent in an epoch: with 1 shares are proportional to size, with 0 they are equal."""

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return the epoch's single phase, with its steps in random order."""
        total = self.steps or sum(-(-size // batch_size) for size in sizes.values())
        # Quotas use full batches, so that at alpha 1, after rounding, each task gets the batches of one pass.
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
    """Round quotas to integers of at least 1 with a given sum (largest remainder method).

    Args:
        quotas: each task's share of the total, unrounded.
        total: the sum of the integers; if it is less than the number of tasks, every task gets 1.
    """
    counts = {task: max(1, int(quota)) for task, quota in quotas.items()}
    while (missing := total - sum(counts.values())) > 0:
        for task in sorted(quotas, key=lambda task: counts[task] - quotas[task])[:missing]:
            counts[task] += 1
    while sum(counts.values()) > total and max(counts.values()) > 1:
        # Raising tasks to 1 exceeded the total: reduce the task that is furthest above its quota.
        most = max((task for task in counts if counts[task] > 1), key=lambda task: counts[task] - quotas[task])
        counts[most] -= 1
    return counts


def _up_to_a_pass(rows: int, size: int, batch_size: int) -> int:
    """Return `rows`, or a whole number of passes over `size` rows if that is less than a batch below `rows`."""
    passes = (rows - batch_size) // size + 1
    return min(rows, passes * size)
