"""Random order of the two texts of a pair in training."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from mbert_cli.batch import Batch
from mbert_cli.data.batching import TaskData, pack
from mbert_cli.data.tokenizer import Tokens
from mbert_cli.machine.process_group import Processes
from mbert_cli.randomness import derive
from mbert_cli.training.portion import Portion, deal


class PairOrder:
    """Packs training batches; for symmetric tasks, each pair gets a random order of its texts at every step.

    In a symmetric task, such as duplicate questions or sentence similarity, the label does not depend on the order of
    the texts. A model that reads both texts in one sequence must learn this. Prediction reads both orders and takes the
    mean; see `prediction.run_model`.

    Args:
        data: the tasks' examples; tasks with `swapped` are symmetric.
        seed: the run's seed.
    """

    def __init__(self, data: Mapping[str, TaskData], seed: int) -> None:
        self._rows = {name: len(task) for name, task in data.items() if task.swapped is not None}
        self._data = {name: _both_orders(task) for name, task in data.items()}
        self._texts = {name: replace(task, features=None) for name, task in self._data.items()}
        self._seed = seed

    def pack(self, rows: Mapping[str, np.ndarray], step: int, device: torch.device | str) -> Batch:
        """Pack rows of several tasks into one batch; the random order depends only on the seed and the step.

        Args:
            rows: for each task of the batch, in order, the indices of its rows.
            step: number of the batch in the run.
            device: device of the batch.
        """
        return pack(self._data, self._drawn_rows(rows, step), device)

    def pack_portions(
        self,
        rows: Mapping[str, np.ndarray],
        step: int,
        device: torch.device | str,
        processes: Processes,
        accumulate: int = 1,
    ) -> list[Portion]:
        """Pack the parts of a batch that this process computes, one after another.

        Args:
            rows: as in `pack`.
            step: as in `pack`.
            device: as in `pack`.
            processes: the processes that train together.
            accumulate: number of parts for each process. A part without an example of its own is left out, but each
                process gets at least one part.
        """
        if processes.is_alone and accumulate == 1:
            batch = self.pack(rows, step, device)
            return [Portion(batch, batch)]
        drawn = self._drawn_rows(rows, step)
        lengths = {task: self._data[task].lengths[own] for task, own in drawn.items()}
        numbers = range(processes.rank * accumulate, (processes.rank + 1) * accumulate)
        dealt = [deal(lengths, number, processes.count * accumulate) for number in numbers]
        whole = pack(self._texts, drawn)
        return [
            Portion(pack(self._data, drawn, device, places), whole, idle)
            for places, idle in [each for each in dealt if len(each[1]) < len(rows)] or dealt[:1]
        ]

    def _drawn_rows(self, rows: Mapping[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
        return {task: self._drawn(task, indices, step) for task, indices in rows.items()}

    def _drawn(self, task: str, rows: np.ndarray, step: int) -> np.ndarray:
        if task not in self._rows:
            return rows
        swapped = np.random.default_rng(derive(self._seed, "pair order", step, task)).integers(0, 2, len(rows))
        return rows + swapped * self._rows[task]


def _both_orders(data: TaskData) -> TaskData:
    """Return the examples, followed by the same examples with their texts swapped."""
    if data.swapped is None:
        return data
    assert data.labels is not None, "training examples have labels"
    sides = tuple(_joined(side, other) for side, other in zip(data.sides, data.swapped.sides, strict=True))
    soft = None if data.soft is None else np.concatenate([data.soft, data.soft])
    return TaskData(sides, np.concatenate([data.labels, data.labels]), soft=soft)


def _joined(one: Tokens, other: Tokens) -> Tokens:
    starts = np.concatenate([one.starts, other.starts[1:] + len(one.ids)])
    ids, types = np.concatenate([one.ids, other.ids]), np.concatenate([one.types, other.types])
    windows = None
    if one.windows or other.windows:
        first, second = (side.windows_of(np.arange(len(side))) for side in (one, other))
        windows = first.joined(second)
    return Tokens(ids, types, starts, [], windows)
