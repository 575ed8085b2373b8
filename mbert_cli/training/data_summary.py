"""What there is to know of a run's data before it is trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbert_cli.data.batching import TaskData
from mbert_cli.data.label_remarks import case_remark, first_of, list_remark, without_dev_rows
from mbert_cli.data.labels import ClassLabels, Labels, ScaleLabels
from mbert_cli.data.truncation import length_remedy
from mbert_cli.errors import counted
from mbert_cli.metrics import percent
from mbert_cli.model.compose import task_labels
from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.datasets import TrainingData, TrainingExamples


@dataclass(frozen=True)
class TaskFacts:
    """Facts of one task's data.

    Args:
        train: rows of its training set.
        dev: rows of its dev set.
        bad: rows of both files that are left out.
        known: rows of the dev set whose texts stand in the training set, too.
        unseen: classes that only the dev set has.
        batches: of one pass over the training set.
        tokens: of a training row, on the mean.
        cut: the share of training rows with a sentence that is longer than allowed.
        shares: for each class, the share of the training rows that are of it; None where labels are numbers.
        span: the smallest label, the mean and the largest one of the training set; None where labels are classes.
        remarks: what is odd about the labels.
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

    def warnings(self, max_length: int, max_positions: int) -> list[str]:
        """Return what may make scores mean less than they seem to.

        Args:
            max_length: the longest sequence that is trained on, in tokens.
            max_positions: the longest that the encoder could read.
        """
        found = []
        if self.known:
            texts, are = counted(self.dev, "dev text"), "is" if self.known == 1 else "are"
            found.append(f"{self.known:,} of {texts} {are} also in the training file: dev scores may be optimistic")
        if self.unseen:
            found.append(f"the training file has no row of {first_of(self.unseen)}, which the dev file has")
        if self.cut > _MUCH:
            found.append(f"{self.cut:.0%} of the training rows are cut: {length_remedy(max_length, max_positions)}")
        return found + self.remarks

    def labels(self) -> str:
        """Return what the labels are, for people."""
        if self.span is not None:
            return f"{self.span[0]:g} to {self.span[2]:g}, mean {self.span[1]:.2f}"
        shares = sorted((self.shares or {}).items(), key=lambda item: -item[1])
        listed = " ".join(f"{label} {percent(share)}" for label, share in shares[:_MOST_CLASSES])
        more = len(shares) - _MOST_CLASSES
        return f"{len(shares):,} classes: {listed} and {more:,} more" if more > 0 else listed


_MOST_CLASSES = 6
_MUCH = 0.05


def data_facts(recipe: Recipe, examples: TrainingExamples, data: TrainingData) -> dict[str, TaskFacts]:
    """Return the facts of every task.

    Args:
        recipe: what is trained.
        examples: what `read_training_examples` returned.
        data: what `tokenise_examples` made of them.
    """
    labels = task_labels(recipe.tasks)
    found = {}
    for name, train in data.train.items():
        own_labels = labels[name]
        names = own_labels.names if isinstance(own_labels, ClassLabels) else None
        own, dev = (examples[name, split] for split in ("train", "dev"))
        known = set(zip(*own.texts, strict=True))
        found[name] = TaskFacts(
            train=len(train),
            dev=len(data.dev[name]),
            bad=len(own.skipped) + len(dev.skipped),
            known=sum(texts in known for texts in zip(*dev.texts, strict=True)),
            unseen=_unseen(own_labels, own.labels, dev.labels),
            batches=-(-len(train) // recipe.training.batch_size),
            tokens=float(np.mean(train.lengths)),
            cut=len({row for side in train.sides for row in side.cut}) / len(train),
            **_labels(train, names),
            remarks=label_remarks(own_labels, own.labels, dev.labels),
        )
    return found


def _unseen(labels: Labels, train: Sequence[float], dev: Sequence[float]) -> list[str]:
    """Return the classes that only the dev file has, as it writes them."""
    if not isinstance(labels, ClassLabels):
        return []
    return [labels.texts[int(index)] for index in sorted({*dev} - {*train})]


def label_remarks(labels: Labels, train: Sequence[float], dev: Sequence[float]) -> list[str]:
    """Return what is odd about a task's labels: classes without rows, lists, a scale that no label comes near.

    Args:
        labels: labels of the task.
        train: labels of the training file, as numbers.
        dev: those of the dev file.
    """
    if isinstance(labels, ScaleLabels):
        return _remarks_on_scale(labels, min(train), max(train))
    if not isinstance(labels, ClassLabels):
        return []
    texts, seen, measured = labels.texts, {*map(int, train)}, {*map(int, dev)}
    absent = [text for index, text in enumerate(texts) if index not in seen | measured]
    unmeasured = [texts[index] for index in sorted(seen - measured)]
    found = [remark for remark in (list_remark(texts), case_remark(texts)) if remark]
    if absent:
        found.append(
            f"neither file has a row of {first_of(absent)}; is it in labels by mistake, or written differently?"
        )
    if unmeasured:
        found.append(without_dev_rows(unmeasured))
    return found


def _remarks_on_scale(labels: ScaleLabels, low: float, high: float) -> list[str]:
    middle = (labels.low + labels.high) / 2
    where = f"the scale runs from {labels.low:g} to {labels.high:g}, but labels of the training file"
    if high < middle:
        return [f"{where} reach {high:g} at most; set scale to the largest that a label can be"]
    if low > middle:
        return [f"{where} are {low:g} at least; set min to the smallest that a label can be"]
    return []


def _labels(train: TaskData, names: list[str] | None) -> dict[str, Any]:
    labels = train.labels
    assert labels is not None
    if names is None:
        return {"shares": None, "span": (float(labels.min()), float(labels.mean()), float(labels.max()))}
    counts = np.bincount(labels.astype(np.int64), minlength=len(names))
    return {
        "shares": {name: float(count / len(labels)) for name, count in zip(names, counts, strict=True)},
        "span": None,
    }
