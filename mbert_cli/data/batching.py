"""Batches: rows of tokenised tasks, packed into one stream."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mbert_cli.batch import Batch, Layout, as_tensor
from mbert_cli.data.examples import Examples
from mbert_cli.data.tokenizer import Tokenizer, Tokens


@dataclass(frozen=True)
class TaskData:
    """A task's tokenised examples.

    Args:
        sides: tokens of the first sentences and, for pairs, of the second ones.
        labels: one number an example, float32; None where there are none.
        lines: where each example begins in its file; empty where it comes from none.
    """

    sides: tuple[Tokens, ...]
    labels: np.ndarray | None
    lines: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.sides[0])

    def sha256(self) -> str:
        """Return a hash of tokens and labels, by which a change of the data is known."""
        digest = hashlib.sha256()
        for side in self.sides:
            digest.update(side.starts.tobytes() + side.ids.tobytes())
        digest.update(b"" if self.labels is None else self.labels.tobytes())
        return digest.hexdigest()

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, all its sentences together."""
        return np.sum([side.lengths for side in self.sides], axis=0)


def pack(data: Mapping[str, TaskData], rows: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> Batch:
    """Pack rows of several tasks into one batch.

    The stream holds, task after task, all first sentences and then all second ones.

    Args:
        data: the tasks' examples.
        rows: for each task of the batch, in order, the indices of its rows.
        device: where the batch is put.
    """
    sources, segments = [], []
    labels = {}
    for task, indices in rows.items():
        sides = data[task].sides
        sources += [(side, indices) for side in sides]
        segments.append(len(sides) * len(indices))
        values = data[task].labels
        if values is not None:
            labels[task] = as_tensor(values[indices], device)
    lengths = np.concatenate([side.lengths[indices] for side, indices in sources])
    starts = np.concatenate([side.starts[indices] for side, indices in sources])
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    where = np.repeat(starts, lengths) + positions
    ids, types, token = [], [], 0
    for side, indices in sources:
        count = int(side.lengths[indices].sum())
        ids.append(side.ids[where[token : token + count]])
        types.append(side.types[where[token : token + count]])
        token += count
    return Batch(
        token_ids=as_tensor(np.concatenate(ids).astype(np.int64), device),
        token_types=as_tensor(np.concatenate(types).astype(np.int64), device),
        positions=as_tensor(positions, device),
        layout=Layout(lengths, segments, device),
        tasks=tuple(rows),
        labels=labels,
    )


def by_length(data: TaskData, token_budget: int, most_rows: int | None = None) -> Iterator[np.ndarray]:
    """Yield all rows in batches of similar length, the longest first, each of at most `token_budget` tokens.

    The longest first, so that a shortage of memory shows at once. A single longer example is a batch of its own.

    Args:
        data: the task's examples.
        token_budget: tokens of a batch.
        most_rows: examples of a batch at most.
    """
    lengths = data.lengths
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        total = np.cumsum(lengths[order[start : start + (most_rows or token_budget)]])
        count = max(1, int(np.searchsorted(total, token_budget, side="right")))
        yield order[start : start + count]
        start += count


def tokenise(tokenizer: Tokenizer, examples: Examples) -> TaskData:
    """Turn examples into token ids and labels."""
    sides = tuple(tokenizer.encode(side) for side in examples.texts)
    return TaskData(sides, np.asarray(examples.labels, dtype=np.float32), examples.lines)
