"""Facts about the data of a run, printed before training, with warnings."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbert_cli.data.batching import TaskData
from mbert_cli.data.label_remarks import case_remark, first_of, list_remark, missing_remark, without_dev_rows
from mbert_cli.data.labels import ClassLabels, Label, Labels, NamedLabels, NumberLabels, ScaleLabels
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.errors import counted
from mbert_cli.metrics import percent
from mbert_cli.model.compose import task_labels
from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.datasets import TrainingData, TrainingExamples


@dataclass(frozen=True)
class TaskFacts:
    """Facts about the data of one task.

    Args:
        train: number of training rows.
        dev: number of dev rows.
        bad: number of rows of both files that are skipped.
        known: number of dev rows whose texts also occur in the training set.
        unseen: classes that occur only in the dev set; empty if a limit left out rows.
        batches: number of batches of one pass over the training set.
        tokens: mean number of tokens of a training row.
        cut: share of the training rows with a sentence that is truncated.
        shares: share of the training rows with each class or label; None if labels are numbers.
        span: minimum, mean and maximum of the training labels; None if labels are classes.
        remarks: warnings about the labels.
        in_windows: share of the training rows with a text that is read in several windows; None for a task without
            windows.
        most_windows: the largest number of windows of a training row, in all of its texts.
    """

    train: int
    dev: int
    bad: int
    known: int
    unseen: list[str]
    batches: int
    tokens: float
    cut: float
    shares: Mapping[str, float] | None
    span: tuple[float, float, float] | None
    remarks: list[str]
    in_windows: float | None = None
    most_windows: int = 1

    def warnings(self, task: str, limits: LengthLimits) -> list[str]:
        """Return warnings about the data, each without a full stop.

        Args:
            task: name of the task.
            limits: the longest texts that the model reads.
        """
        warnings = []
        if self.known:
            texts, are = counted(self.dev, "dev text"), "is" if self.known == 1 else "are"
            warnings.append(f"{self.known:,} of {texts} {are} also in the training file: dev scores may be optimistic")
        if self.unseen:
            warnings.append(f"the training file has no row with {first_of(self.unseen)}, but the dev file has")
        if self.cut > _MUCH:
            warnings.append(f"{self.cut:.0%} of the training rows are cut: {limits.remedy(task)}")
        return warnings + self.remarks

    def labels(self) -> str:
        """Return a description of the labels: their range, or the shares of the classes."""
        if self.span is not None:
            return f"{self.span[0]:g} to {self.span[2]:g}, mean {self.span[1]:.2f}"
        shares = sorted((self.shares or {}).items(), key=lambda item: -item[1])
        listed = ", ".join(f"{label} {percent(share)}" for label, share in shares[:_MOST_CLASSES])
        more = len(shares) - _MOST_CLASSES
        return f"{len(shares):,} classes: {listed} and {more:,} more" if more > 0 else listed


_MOST_CLASSES = 6  # classes that are listed
_MUCH = 0.05  # share of truncated rows from which there is a warning


def data_facts(recipe: Recipe, examples: TrainingExamples, data: TrainingData) -> dict[str, TaskFacts]:
    """Return the facts of every task.

    Args:
        recipe: the recipe.
        examples: result of `read_training_examples`.
        data: the same examples, tokenised.
    """
    labels = task_labels(recipe.tasks)
    facts = {}
    for name, train in data.train.items():
        own_labels = labels[name]
        names = own_labels.names if isinstance(own_labels, NamedLabels) else None
        own, dev = (examples[name, split] for split in ("train", "dev"))
        known = set(zip(*own.texts, strict=True))
        limited = own.limited or dev.limited
        facts[name] = TaskFacts(
            train=len(train),
            dev=len(data.dev[name]),
            bad=len(own.skipped) + len(dev.skipped),
            known=sum(texts in known for texts in zip(*dev.texts, strict=True)),
            unseen=[] if limited else _unseen(own_labels, own.labels, dev.labels),
            batches=-(-len(train) // recipe.training.batch_size),
            tokens=float(np.mean(train.lengths)),
            cut=len({row for side in train.sides for row in side.cut}) / len(train),
            **_windows(train, recipe.tasks[name].windows is not None),
            **_labels(train, names),
            remarks=label_remarks(own_labels, own.labels, dev.labels, limited),
        )
    return facts


def _windows(train: TaskData, reads_windows: bool) -> dict[str, Any]:
    if not reads_windows:
        return {"in_windows": None, "most_windows": 1}
    rows = np.arange(len(train))
    counts = np.stack([side.windows_of(rows).counts for side in train.sides])
    return {"in_windows": float((counts > 1).any(0).mean()), "most_windows": int(counts.sum(0).max())}


def _unseen(labels: Labels, train: Sequence[Label], dev: Sequence[Label]) -> list[str]:
    """Return the classes that occur only in the dev file, as they are written there."""
    if not isinstance(labels, NamedLabels):
        return []
    return [labels.texts[index] for index in sorted({*_occurrences(dev)} - {*_occurrences(train)})]


def _occurrences(labels: Sequence[Label]) -> Iterator[int]:
    """Yield the index of the class of each row, or the indices of all labels of each row."""
    for label in labels:
        if isinstance(label, tuple):
            yield from (index for index, flag in enumerate(label) if flag)
        else:
            yield int(label)


def label_remarks(labels: Labels, train: Sequence[Label], dev: Sequence[Label], limited: bool = False) -> list[str]:
    """Return warnings about the labels of a task: classes without rows, lists as labels, an unused half of the scale.

    Args:
        labels: labels of the task.
        train: labels of the training file.
        dev: labels of the dev file.
        limited: a limit left out rows. Then there are no warnings about labels that do not occur.
    """
    if isinstance(labels, NumberLabels):
        numbers = [each for each in train if isinstance(each, float)]
        return [] if limited else _remarks_on_numbers(labels, min(numbers), max(numbers))
    if not isinstance(labels, NamedLabels):
        return []
    texts, seen, measured = labels.texts, {*_occurrences(train)}, {*_occurrences(dev)}
    counts = Counter(texts[index] for index in _occurrences([*train, *dev]))
    lists = list_remark(texts) if isinstance(labels, ClassLabels) else None
    remarks = [remark for remark in (lists, case_remark(texts), missing_remark(counts)) if remark]
    if limited:
        return remarks
    absent = [text for index, text in enumerate(texts) if index not in seen | measured]
    unmeasured = [texts[index] for index in sorted(seen - measured)]
    if absent:
        remarks.append(
            f"neither file has a row with {first_of(absent)}; remove it from labels, or correct its spelling there"
        )
    if unmeasured:
        remarks.append(without_dev_rows(unmeasured, not isinstance(labels, ClassLabels)))
    return remarks


def _remarks_on_numbers(labels: NumberLabels, low: float, high: float) -> list[str]:
    if low == high:
        return [f"all labels of the training file are {low:g}: there is nothing to learn"]
    return _remarks_on_scale(labels, low, high) if isinstance(labels, ScaleLabels) else []


def _remarks_on_scale(labels: ScaleLabels, low: float, high: float) -> list[str]:
    middle = (labels.low + labels.high) / 2
    scale = f"the scale runs from {labels.low:g} to {labels.high:g}, but labels of the training file"
    if high < middle:
        return [f"{scale} are at most {high:g}; set max to the largest possible label"]
    if low > middle:
        return [f"{scale} are at least {low:g}; set min to the smallest possible label"]
    return []


def _labels(train: TaskData, names: list[str] | None) -> dict[str, Any]:
    labels = train.labels
    assert labels is not None
    if names is None:
        return {"shares": None, "span": (float(labels.min()), float(labels.mean()), float(labels.max()))}
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels.astype(np.int64), minlength=len(names))
    return {
        "shares": {name: float(count / len(labels)) for name, count in zip(names, counts, strict=True)},
        "span": None,
    }
