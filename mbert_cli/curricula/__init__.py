"""Curricula: one file each, its name the `kind` in a recipe; here is the contract. No tensors in this package."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

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
    """

    steps: Sequence[tuple[str, ...]]
    rows: Mapping[str, int]
    trains: Scope

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
        for tasks in self.steps:
            step = {}
            for task in tasks:
                step[task] = streams[task][taken[task] : taken[task] + batch_size]
                taken[task] += batch_size
            yield step

    def _stream(self, task: str, size: int, seed: int, epoch: int) -> np.ndarray:
        rows = self.rows[task]
        passes = [permutation(size, seed, "rows", epoch, task, turn) for turn in range(-(-rows // size))]
        return np.concatenate(passes)[:rows]


class Curriculum(ABC):
    """Says, for an epoch and the sizes of the training sets, which tasks step and what trains."""

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
