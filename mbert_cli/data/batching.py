"""Batches: rows of tokenised tasks, packed into one stream."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch, Layout, Side, as_tensor, to_device
from mbert_cli.data.examples import Examples
from mbert_cli.data.tokenizer import Tokenizer, Tokens


@dataclass(frozen=True)
class TaskData:
    """A task's tokenised examples.

    Args:
        sides: for each side that the task's head reads, the tokens of all examples.
        labels: one number an example, float32; None where there are none.
        lines: where each example begins in its file; empty where it comes from none.
        features: for each side its tokens' hidden states after the encoder's last layer; None where unknown.
        swapped: the same examples with their two texts in the other order; None where the order matters.
        soft: soft labels, a row of float32 an example; None where there are none.
    """

    sides: tuple[Tokens, ...]
    labels: np.ndarray | None
    lines: Sequence[int] = ()
    features: tuple[Tensor, ...] | None = None
    swapped: "TaskData | None" = None
    soft: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sides[0])

    def sha256(self) -> str:
        """Return a hash of tokens and labels, by which a change of the data is known."""
        digest = hashlib.sha256()
        for side in self.sides:
            digest.update(side.starts.tobytes() + side.ids.tobytes())
        for labels in (self.labels, self.soft):
            digest.update(b"" if labels is None else labels.tobytes())
        return digest.hexdigest()

    @property
    def cut(self) -> list[int]:
        """The rows of which a text was cut; unknown, hence none, of rows that were taken from others."""
        return sorted({row for side in self.sides for row in side.cut})

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, all its sentences together."""
        return np.sum([side.lengths for side in self.sides], axis=0)

    def take(self, rows: np.ndarray) -> "TaskData":
        """Return some of the examples, without their features."""
        sides = []
        for side in self.sides:
            places, starts = token_places(side, rows), np.concatenate([[0], np.cumsum(side.lengths[rows])])
            sides.append(Tokens(side.ids[places], side.types[places], starts, []))
        labels = None if self.labels is None else self.labels[rows]
        lines = [self.lines[row] for row in rows] if self.lines else []
        soft = None if self.soft is None else self.soft[rows]
        return TaskData(tuple(sides), labels, lines, swapped=self.swapped and self.swapped.take(rows), soft=soft)

    def count_tokens(self, rows: np.ndarray) -> int:
        """Return the tokens of some examples, all their sentences together."""
        return int(sum((side.starts[rows + 1] - side.starts[rows]).sum() for side in self.sides))


def pack(data: Mapping[str, TaskData], rows: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> Batch:
    """Pack rows of several tasks into one batch.

    The stream holds, task after task, one side of all its examples after another.

    Args:
        data: the tasks' examples.
        rows: for each task of the batch, in order, the indices of its rows.
        device: where the batch is put.
    """
    sources, segments = [], []
    labels: dict[str, Tensor] = {}
    soft: dict[str, Tensor] = {}
    for task, indices in rows.items():
        sides = data[task].sides
        sources += [(side, indices) for side in sides]
        segments.append(len(sides) * len(indices))
        for values, own in ((data[task].labels, labels), (data[task].soft, soft)):
            if values is not None:
                own[task] = as_tensor(values[indices], device)
    lengths = np.concatenate([side.lengths[indices] for side, indices in sources])
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    places = [token_places(side, indices) for side, indices in sources]
    ids = np.concatenate([side.ids[own] for (side, _), own in zip(sources, places, strict=True)])
    types = np.concatenate([side.types[own] for (side, _), own in zip(sources, places, strict=True)])
    known = [each for task in rows for each in data[task].features or ()]
    return Batch(
        token_ids=as_tensor(ids.astype(np.int64), device),
        token_types=as_tensor(types.astype(np.int64), device),
        positions=as_tensor(positions, device),
        layout=Layout(lengths, segments, device),
        tasks=tuple(rows),
        labels=labels,
        soft=soft,
        features=_gather(known, places, device) if known else None,
    )


def token_places(side: Tokens, rows: np.ndarray) -> np.ndarray:
    """Return, for each token of some texts, one after another, its index in `side.ids`."""
    lengths = side.lengths[rows]
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(side.starts[rows] - before, lengths)


def _gather(features: Sequence[Tensor], places: Sequence[np.ndarray], device: torch.device | str) -> Tensor:
    assert len(features) == len(places), "all tasks of a batch have features, or none has"
    own = (each.index_select(0, torch.from_numpy(at)) for each, at in zip(features, places, strict=True))
    return to_device(torch.cat(list(own)), device)


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


def tokenise(tokenizer: Tokenizer, examples: Examples, sides: Sequence[Side], symmetric: bool) -> TaskData:
    """Turn examples into token ids and labels; arguments are those of `tokenise_texts`."""
    labels = np.asarray(examples.labels, dtype=np.float32)
    soft = np.asarray(examples.soft, dtype=np.float32) if examples.soft else None
    return replace(tokenise_texts(tokenizer, examples.texts, sides, symmetric, labels, examples.lines), soft=soft)


def tokenise_texts(
    tokenizer: Tokenizer,
    texts: Sequence[Sequence[str]],
    sides: Sequence[Side],
    symmetric: bool,
    labels: np.ndarray | None = None,
    lines: Sequence[int] = (),
) -> TaskData:
    """Turn the columns of a task into token ids, for each side in turn.

    Args:
        tokenizer: the encoder's.
        texts: one column, or the two of a pair.
        sides: what the task's head reads of each example.
        symmetric: whether the two texts may change places.
        labels: as `TaskData` takes them.
        lines: the same.
    """
    columns = {"first": texts[:1], "second": texts[1:], "whole": texts}
    own = {side: tokenizer.encode(*columns[side]) for side in sides}
    swapped = None
    if symmetric:
        # A text alone is the same text in either order.
        of: dict[Side, Side] = {"first": "second", "second": "first"}
        other = (own[of[side]] if side in of else tokenizer.encode(*texts[::-1]) for side in sides)
        swapped = TaskData(tuple(other), labels, lines)
    return TaskData(tuple(own.values()), labels, lines, swapped=swapped)
