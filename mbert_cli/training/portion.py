"""The part of a step's batch that one process computes at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch, to_device
from mbert_cli.heads import Head


def deal(lengths: Mapping[str, np.ndarray], rank: int, count: int) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """Deal the examples of a step to parts, so that all have about as many tokens.

    The examples of a task are dealt by length, forwards and backwards in turn. A part that gets no example of a task
    repeats one of another part, so that all parts run the same modules. The repeated example must not count.

    Args:
        lengths: for each task, the number of tokens of each of its examples.
        rank: number of the part.
        count: number of parts.

    Returns:
        For each task, the places of the part's examples in ascending order; and the tasks whose example must not
        count.
    """
    places, idle, first = {}, set(), 0
    for task, tokens in lengths.items():
        turns = np.arange(len(tokens)) + first
        forwards, backwards = turns % count, count - 1 - turns % count
        dealt_to = np.where(turns // count % 2 == 0, forwards, backwards)
        order = np.argsort(-tokens, kind="stable")
        own = np.sort(order[dealt_to == rank])
        if not len(own):
            own = order[-1:]
            idle.add(task)
        places[task] = own
        first += len(tokens)
    return places, frozenset(idle)


@dataclass(frozen=True)
class Portion:
    """The part of a step's batch that one process computes at once.

    Args:
        batch: the examples of this part.
        whole: the examples of all parts, on the CPU; `batch` itself if there is only one part.
        idle: the tasks whose example in `batch` must not count; see `deal`.
    """

    batch: Batch
    whole: Batch
    idle: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether this is the only part."""
        return self.batch is self.whole

    def share(self, head: Head, task: str) -> Any:
        """Return the weight of a task's labels in `batch` divided by that in `whole`.

        The mean loss over all parts is the sum of their own means, each multiplied by this share.
        """
        return self._share(task, head.label_weight, self.batch.labels, self.whole.labels)

    def soft_share(self, head: Head, task: str) -> Any:
        """Return the same for soft labels."""
        return self._share(task, head.soft_weight, self.batch.soft, self.whole.soft)

    def _share(
        self, task: str, weight: Callable[[Tensor], Any], own: Mapping[str, Tensor], of_all: Mapping[str, Tensor]
    ) -> Any:
        if task in self.idle:
            return 0.0
        return weight(own[task]) / weight(to_device(of_all[task], own[task].device))


class _Exchanged(torch.autograd.Function):
    """The value of one number with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def with_value(local: Tensor, value: Tensor) -> Tensor:
    """Return a loss with the value over all processes and the gradient of this process's part.

    The value has the same bits in all processes, so that a loss balancing computes the same in all of them.
    """
    result: Tensor = _Exchanged.apply(local, value)
    return result
