"""Pairs whose two texts may change places."""

from collections.abc import Mapping

import numpy as np
import torch

from mbert_cli.batch import Batch
from mbert_cli.data.batching import TaskData, pack
from mbert_cli.data.tokenizer import Tokens
from mbert_cli.randomness import derive


class PairOrder:
    """Packs training batches; the two texts of a symmetric task's pairs lie in either order, drawn at every step.

    That two questions are the same, or that two sentences are alike, does not depend on which comes first, but a model
    that reads both in one sequence must learn so: it sees each pair twice, as it were. Prediction reads both orders and
    takes the mean, see `prediction.run_model`.

    Args:
        data: the tasks' examples; those with `swapped` are symmetric.
        seed: the run's.
    """

    def __init__(self, data: Mapping[str, TaskData], seed: int) -> None:
        self._rows = {name: len(each) for name, each in data.items() if each.swapped is not None}
        self._data = {name: _both_orders(each) for name, each in data.items()}
        self._seed = seed

    def pack(self, rows: Mapping[str, np.ndarray], step: int, device: torch.device | str) -> Batch:
        """Pack rows of several tasks into one batch: a function of the seed and the step alone.

        Args:
            rows: for each task of the batch, in order, the indices of its rows.
            step: its number within the run.
            device: where the batch is put.
        """
        return pack(self._data, {task: self._drawn(task, own, step) for task, own in rows.items()}, device)

    def _drawn(self, task: str, rows: np.ndarray, step: int) -> np.ndarray:
        if task not in self._rows:
            return rows
        swapped = np.random.default_rng(derive(self._seed, "pair order", step, task)).integers(0, 2, len(rows))
        return rows + swapped * self._rows[task]


def _both_orders(data: TaskData) -> TaskData:
    """Return the examples followed by themselves in the other order."""
    if data.swapped is None:
        return data
    assert data.labels is not None, "training examples have labels"
    sides = tuple(_joined(own, other) for own, other in zip(data.sides, data.swapped.sides, strict=True))
    soft = None if data.soft is None else np.concatenate([data.soft, data.soft])
    return TaskData(sides, np.concatenate([data.labels, data.labels]), soft=soft)


def _joined(one: Tokens, other: Tokens) -> Tokens:
    starts = np.concatenate([one.starts, other.starts[1:] + len(one.ids)])
    return Tokens(np.concatenate([one.ids, other.ids]), np.concatenate([one.types, other.types]), starts, [])
