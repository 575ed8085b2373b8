"""Batches: tokenised examples of several tasks, packed into one stream."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch, Layout, Side, load_with, to_device
from mbert_cli.data.examples import Examples
from mbert_cli.data.tokenizer import Tokenizer, Tokens
from mbert_cli.recipe.long_texts import WindowsSection


@dataclass(frozen=True)
class TaskData:
    """Tokenised examples of one task.

    Args:
        sides: for each side that the task's head reads, the tokens of all examples.
        labels: one label per example, float32; one row of float32 if examples have sets of labels; None without labels.
        lines: the line of the file at which each example begins; empty for examples that are not from a file.
        features: for each side, the hidden states of its tokens after the encoder's last layer; None if unknown.
        swapped: the same examples with their two texts swapped; None if the order of the texts matters.
        soft: soft labels, one row of float32 per example; None without soft labels.
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
        """Return a hash of tokens and labels; it shows whether the data have changed."""
        digest = hashlib.sha256()
        for side in self.sides:
            digest.update(side.starts.tobytes() + side.ids.tobytes())
            digest.update(b"" if side.windows is None else side.windows.lengths.tobytes())
        for labels in (self.labels, self.soft):
            digest.update(b"" if labels is None else labels.tobytes())
        return digest.hexdigest()

    @property
    def cut(self) -> list[int]:
        """Indices of the rows with a truncated text. The result of `take` has none, because it does not keep them."""
        return sorted({row for side in self.sides for row in side.cut})

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each example, in all of its sequences."""
        return np.sum([side.lengths for side in self.sides], axis=0)

    def take(self, rows: np.ndarray) -> "TaskData":
        """Return some of the examples; features are not kept."""
        sides = []
        for side in self.sides:
            places, starts = token_places(side, rows), np.concatenate([[0], np.cumsum(side.lengths[rows])])
            windows = side.windows and side.windows.take(rows)
            sides.append(Tokens(side.ids[places], side.types[places], starts, [], windows))
        labels = None if self.labels is None else self.labels[rows]
        lines = [self.lines[row] for row in rows] if self.lines else []
        soft = None if self.soft is None else self.soft[rows]
        return TaskData(tuple(sides), labels, lines, swapped=self.swapped and self.swapped.take(rows), soft=soft)

    def count_tokens(self, rows: np.ndarray) -> int:
        """Return the number of tokens of some examples, in all of their sequences."""
        return int(sum((side.starts[rows + 1] - side.starts[rows]).sum() for side in self.sides))


def pack(
    data: Mapping[str, TaskData],
    rows: Mapping[str, np.ndarray],
    device: torch.device | str = "cpu",
    part: Mapping[str, np.ndarray] | None = None,
) -> Batch:
    """Pack rows of several tasks into one batch, or a part of that batch.

    The stream contains the tasks in order; within a task, all examples of the first side, then of the next side. The
    windows of a text follow each other.

    Args:
        data: the examples of each task.
        rows: for each task of the batch, in order, the indices of its examples.
        device: device of the batch.
        part: for each task, the places in `rows` of the examples of the part; by default all.
    """
    whole = rows
    if part is not None:
        rows = {task: indices[part[task]] for task, indices in rows.items()}
    sources, segments = [], []
    sequences: list[np.ndarray] = []
    labels: dict[str, np.ndarray] = {}
    soft: dict[str, np.ndarray] = {}
    windows: dict[str, Layout] = {}
    for task, indices in rows.items():
        sides = data[task].sides
        sources += [(side, indices) for side in sides]
        own_windows = [side.windows_of(indices) for side in sides]
        sequences += [each.lengths for each in own_windows]
        counts = np.concatenate([each.counts for each in own_windows])
        segments.append(int(counts.sum()))
        if segments[-1] > len(counts):
            windows[task] = Layout(counts, None, device)
        for values, own in ((data[task].labels, labels), (data[task].soft, soft)):
            if values is not None:
                own[task] = values[indices]
    lengths = np.concatenate(sequences)
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    places = [token_places(side, indices) for side, indices in sources]
    ids = np.concatenate([side.ids[own] for (side, _), own in zip(sources, places, strict=True)])
    types = np.concatenate([side.types[own] for (side, _), own in zip(sources, places, strict=True)])
    known = [each for task in rows for each in data[task].features or ()]
    layout = Layout(lengths, segments, device, None if part is None else _starts_in_whole(data, whole, part))
    own_places = {} if part is None else {task: part[task] for task in rows}
    of_tokens = [ids.astype(np.int64), types.astype(np.int64), positions]
    rest = iter(load_with(layout, [*of_tokens, *labels.values(), *soft.values(), *own_places.values()]))
    return Batch(
        token_ids=next(rest),
        token_types=next(rest),
        positions=next(rest),
        layout=layout,
        tasks=tuple(rows),
        labels=dict(zip(labels, rest, strict=False)),
        soft=dict(zip(soft, rest, strict=False)),
        features=_gather(known, places, device) if known else None,
        places=dict(zip(own_places, rest, strict=False)),
        windows=windows,
    )


def _starts_in_whole(
    data: Mapping[str, TaskData], rows: Mapping[str, np.ndarray], part: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return, for each sequence of a part of a batch, the place of its first token in the whole batch."""
    starts, tokens = [], 0
    for task, indices in rows.items():
        for side in data[task].sides:
            windows = side.windows_of(indices)
            ends = tokens + np.cumsum(windows.lengths)
            starts.append((ends - windows.lengths)[windows.places(part[task])])
            tokens = ends[-1]
    return np.concatenate(starts)


def token_places(side: Tokens, rows: np.ndarray) -> np.ndarray:
    """Return the index in `side.ids` of each token of some texts, in the order of the texts."""
    lengths = side.lengths[rows]
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(side.starts[rows] - before, lengths)


def _gather(features: Sequence[Tensor], places: Sequence[np.ndarray], device: torch.device | str) -> Tensor:
    assert len(features) == len(places), "either all tasks of a batch have features, or none"
    own = (each.index_select(0, torch.from_numpy(at)) for each, at in zip(features, places, strict=True))
    return to_device(torch.cat(list(own)), device)


def by_length(data: TaskData, token_budget: int, most_rows: int | None = None) -> Iterator[np.ndarray]:
    """Yield the indices of all examples in batches of similar length, each of at most `token_budget` tokens.

    The longest batch is first, so that a shortage of memory shows at once. An example with more than `token_budget`
    tokens is a batch by itself.

    Args:
        data: the task's examples.
        token_budget: the largest number of tokens in a batch.
        most_rows: the largest number of examples in a batch; None for no limit.
    """
    lengths = data.lengths
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        total = np.cumsum(lengths[order[start : start + (most_rows or token_budget)]])
        count = max(1, int(np.searchsorted(total, token_budget, side="right")))
        yield order[start : start + count]
        start += count


def tokenise(
    tokenizer: Tokenizer,
    examples: Examples,
    sides: Sequence[Side],
    symmetric: bool,
    windows: WindowsSection | None = None,
) -> TaskData:
    """Convert examples to token ids and labels; see `tokenise_texts` for the arguments."""
    labels = np.asarray(examples.labels, dtype=np.float32)
    soft = np.asarray(examples.soft, dtype=np.float32) if examples.soft else None
    data = tokenise_texts(tokenizer, examples.texts, sides, symmetric, labels, examples.lines, windows)
    return replace(data, soft=soft)


def tokenise_texts(
    tokenizer: Tokenizer,
    texts: Sequence[Sequence[str]],
    sides: Sequence[Side],
    symmetric: bool,
    labels: np.ndarray | None = None,
    lines: Sequence[int] = (),
    windows: WindowsSection | None = None,
) -> TaskData:
    """Convert the columns of a task to token ids, one side after the other.

    Args:
        tokenizer: the tokenizer of the encoder.
        texts: one column of texts, or the two columns of pairs.
        sides: the sides that the task's head reads.
        symmetric: the order of the two texts does not matter; the result also contains them swapped.
        labels: see `TaskData`.
        lines: see `TaskData`.
        windows: how long texts are read; None to cut them.
    """
    columns = {"first": texts[:1], "second": texts[1:], "whole": texts}
    own = {side: tokenizer.encode(*columns[side], windows=windows) for side in sides}
    swapped = None
    if symmetric:
        # A single text of a swapped pair is the other side, which is already encoded.
        opposite: dict[Side, Side] = {"first": "second", "second": "first"}
        exchanged = (tokenizer.encode(*texts[::-1], windows=windows) for side in sides if side == "whole")
        other = (own[opposite[side]] if side in opposite else next(exchanged) for side in sides)
        swapped = TaskData(tuple(other), labels, lines)
    return TaskData(tuple(own.values()), labels, lines, swapped=swapped)
