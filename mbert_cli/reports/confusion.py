"""The confusion of the classes of a task, read from its metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mbert_cli.metrics import MATRIX_LIMIT


def frequent_classes(metrics: Mapping[str, Any], most: int) -> tuple[dict[str, Mapping[str, float]], str]:
    """Return the scores of classes in their order, and a note if some are left out.

    With more than `most` classes, the result has those with the most examples.

    Args:
        metrics: the metrics of a task with classes.
        most: largest number of classes.
    """
    scores: Mapping[str, Mapping[str, float]] = metrics.get("per_class", {})
    if len(scores) <= most:
        note = "" if len(scores) == len(metrics["labels"]) else "the classes that occur or are predicted"
        return dict(scores), note
    chosen = {*sorted(scores, key=lambda label: -scores[label]["support"])[:most]}
    note = f"the {most} most frequent of {len(metrics['labels']):,} classes"
    return {label: own for label, own in scores.items() if label in chosen}, note


@dataclass(frozen=True)
class LabelPair:
    """A true label, and a label that was predicted for it.

    Args:
        label: the true label.
        predicted: the predicted label.
        count: number of examples.
        share: `count` divided by the number of examples of the true label.
    """

    label: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """The numbers of examples by true label and predicted label.

    Args:
        labels: names of the classes.
        rows: number of examples of each true label.
        entries: index of the true label, index of the predicted label and number of examples, for pairs that occur.
    """

    labels: Sequence[str]
    rows: Sequence[int]
    entries: Sequence[tuple[int, int, int]]

    @staticmethod
    def of(metrics: Mapping[str, Any]) -> "Confusion | None":
        """Return the confusion from a task's metrics, in either form; None for a task without classes."""
        if "confusion_entries" in metrics:
            entries = [(i, j, count) for i, j, count in metrics["confusion_entries"]]
        elif "confusion" in metrics:
            matrix = metrics["confusion"]
            entries = [(i, j, count) for i, row in enumerate(matrix) for j, count in enumerate(row) if count]
        else:
            return None
        rows = [0] * len(metrics["labels"])
        for true, _, count in entries:
            rows[true] += count
        return Confusion(metrics["labels"], rows, entries)

    @property
    def has_matrix(self) -> bool:
        """Whether there are few enough classes for a whole matrix."""
        return len(self.labels) <= MATRIX_LIMIT

    def pairs(self) -> list[LabelPair]:
        """Return all pairs of labels that occur, including correct predictions, in the order of the classes."""
        return [LabelPair(self.labels[i], self.labels[j], count, count / self.rows[i]) for i, j, count in self.entries]

    def mistakes(self, most: int) -> list[LabelPair]:
        """Return the most frequent mistakes, most frequent first."""
        wrong = [pair for pair in self.pairs() if pair.label != pair.predicted]
        return sorted(wrong, key=lambda pair: -pair.count)[:most]

    def of_most_frequent(self, most: int) -> "Confusion":
        """Return the confusion between the classes with the most examples, in the order of the classes."""
        chosen = sorted(sorted(range(len(self.rows)), key=lambda i: -self.rows[i])[:most])
        place = {old: new for new, old in enumerate(chosen)}
        entries = [(place[i], place[j], count) for i, j, count in self.entries if i in place and j in place]
        return Confusion([self.labels[i] for i in chosen], [self.rows[i] for i in chosen], entries)

    def matrix(self) -> list[list[int]]:
        """Return the confusion matrix; rows are true labels."""
        counts = [[0] * len(self.labels) for _ in self.labels]
        for true, predicted, count in self.entries:
            counts[true][predicted] = count
        return counts

    def shares(self) -> list[list[float]]:
        """Return the matrix with each row divided by the number of examples of its label."""
        return [[count / max(total, 1) for count in row] for row, total in zip(self.matrix(), self.rows, strict=True)]
