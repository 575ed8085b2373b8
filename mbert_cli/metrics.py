"""Metrics of a task, and the one score over all tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Metrics = dict[str, Any]
"""Names to numbers, and of a classification more: `labels`, the classes' names; `confusion`, how many examples of a
true label (row) were given a label (column); `confusion_shares`, each row divided by its sum; `per_class` and `macro`,
the precision, recall and F1 of every class and their means.

With more than `MATRIX_LIMIT` classes, `confusion_entries` replaces both matrices: a list of [index of the true label,
index of the predicted label, number of examples] for the pairs that occur; and `per_class` holds the classes that occur
or are predicted. So the size of metrics grows with the examples and the classes, not with the classes' square."""

Goal = Literal["classification", "regression"]
"""What a task's labels are: classes, or numbers on a scale."""

LOWER_IS_BETTER = frozenset({"loss", "mse", "mae", "ece"})
MATRIX_LIMIT = 100
"""The largest number of classes whose confusion is kept, written and drawn as a whole matrix."""
_BINS = 15  # as in Guo et al.
_PER_CLASS = ("precision", "recall", "f1")


def classification_metrics(
    predicted: np.ndarray, labels: np.ndarray, names: Sequence[str], positive: int | None
) -> Metrics:
    """Return accuracy; precision, recall and F1, also by class and their macro averages; and the confusion matrix.

    What would be divided by zero is 0: the precision of a class that is never predicted, the recall and the shares of a
    class that never occurs.

    Args:
        predicted: class indices.
        labels: true class indices.
        names: of the classes, whether or not they occur.
        positive: the class that precision, recall and F1 are of; None for their macro average over all classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    classes = list(range(len(names)))
    *scores, support = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    macro = {name: float(np.mean(values)) for name, values in zip(_PER_CLASS, scores, strict=True)}
    listed = classes if len(names) <= MATRIX_LIMIT else sorted({*labels.tolist(), *predicted.tolist()})
    per_class = {
        names[i]: {name: float(values[i]) for name, values in zip(_PER_CLASS, scores, strict=True)}
        | {"support": int(support[i])}
        for i in listed
    }
    chosen = macro if positive is None else {name: per_class[names[positive]][name] for name in _PER_CLASS}
    return {
        "accuracy": float((predicted == labels).mean()),
        **chosen,
        "macro": macro,
        "per_class": per_class,
        **_confusion(predicted, labels, len(names)),
        "labels": list(names),
    }


def _confusion(predicted: np.ndarray, labels: np.ndarray, number: int) -> Metrics:
    """Return the confusion of `number` classes as metrics hold it: two matrices, or the entries that are not 0."""
    if number > MATRIX_LIMIT:
        pairs, counts = np.unique(np.stack([labels, predicted], axis=1), axis=0, return_counts=True)
        return {"confusion_entries": np.column_stack([pairs, counts]).tolist()}
    matrix = np.bincount(labels * number + predicted, minlength=number * number).reshape(number, number)
    shares = matrix / np.maximum(matrix.sum(axis=1), 1)[:, None]
    return {"confusion": matrix.tolist(), "confusion_shares": shares.tolist()}


def frequent_classes(metrics: Mapping[str, Any], most: int) -> tuple[dict[str, Mapping[str, float]], str]:
    """Return the scores of classes, in the classes' order; of many, those with the most examples, and a note on that.

    Args:
        metrics: of a task with classes.
        most: how many classes at most.
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
        label: the true one.
        predicted: the predicted one.
        count: how many examples.
        share: of the examples of the true label.
    """

    label: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """Which labels were predicted for which.

    Args:
        labels: the classes' names.
        rows: the number of examples of each true label.
        entries: true label, predicted label and number of examples of the pairs that occur.
    """

    labels: Sequence[str]
    rows: Sequence[int]
    entries: Sequence[tuple[int, int, int]]

    @staticmethod
    def of(metrics: Mapping[str, Any]) -> "Confusion | None":
        """Return the confusion of a task's metrics, in either form; None of a task that has no classes."""
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
        """Whether the classes are few enough for a whole matrix."""
        return len(self.labels) <= MATRIX_LIMIT

    def pairs(self) -> list[LabelPair]:
        """Return all pairs of labels that occur, right ones as well, in the classes' order."""
        return [LabelPair(self.labels[i], self.labels[j], count, count / self.rows[i]) for i, j, count in self.entries]

    def mistakes(self, most: int) -> list[LabelPair]:
        """Return the most frequent mistakes, the most frequent one first."""
        wrong = [pair for pair in self.pairs() if pair.label != pair.predicted]
        return sorted(wrong, key=lambda pair: -pair.count)[:most]

    def of_most_frequent(self, most: int) -> "Confusion":
        """Return the part with the classes that have the most examples, in the classes' order."""
        chosen = sorted(sorted(range(len(self.rows)), key=lambda i: -self.rows[i])[:most])
        place = {old: new for new, old in enumerate(chosen)}
        entries = [(place[i], place[j], count) for i, j, count in self.entries if i in place and j in place]
        return Confusion([self.labels[i] for i in chosen], [self.rows[i] for i in chosen], entries)

    def matrix(self) -> list[list[int]]:
        """Return the numbers of examples; rows are true labels."""
        found = [[0] * len(self.labels) for _ in self.labels]
        for true, predicted, count in self.entries:
            found[true][predicted] = count
        return found

    def shares(self) -> list[list[float]]:
        """Return the matrix, each row divided by the number of examples of its label."""
        return [[count / max(total, 1) for count in row] for row, total in zip(self.matrix(), self.rows, strict=True)]


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Return how far the confidence of predictions is from the share of them that is right.

    ECE = sum over bins m of |B_m| / n * |share right in B_m - mean confidence in B_m|, where B_m holds the examples
    whose confidence is in ((m - 1) / 15, m / 15]. Source: Guo et al. 2017, equation 3, with their 15 bins.

    Args:
        confidences: the probability of each example's likeliest class.
        right: whether that is its label.
    """
    bins = np.searchsorted(np.arange(1, _BINS) / _BINS, confidences)
    gaps = np.bincount(bins, right.astype(np.float64) - confidences, _BINS)
    return float(np.abs(gaps).sum() / len(confidences))


def regression_metrics(predicted: np.ndarray, labels: np.ndarray) -> Metrics:
    """Return Pearson's and Spearman's correlation, MSE, MAE and R^2.

    A correlation with a constant is undefined and reported as 0: nothing was explained.
    """
    from scipy import stats
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    varied = len(labels) > 1 and np.ptp(predicted) > 0 and np.ptp(labels) > 0
    return {
        "pearson": float(stats.pearsonr(predicted, labels).statistic) if varied else 0.0,
        "spearman": float(stats.spearmanr(predicted, labels).statistic) if varied else 0.0,
        "mse": float(mean_squared_error(labels, predicted)),
        "mae": float(mean_absolute_error(labels, predicted)),
        "r2": float(r2_score(labels, predicted)) if varied else 0.0,
    }


def task_score(name: str, value: float) -> float:
    """Map a task's main metric to [0, 1]: a correlation r to (r + 1) / 2, anything else as it is."""
    return (value + 1) / 2 if name in ("pearson", "spearman") else value


def percent(share: float) -> str:
    """Return a share for people: only what is nothing reads 0%, only what is everything 100%."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def overall(main: Mapping[str, tuple[str, float]]) -> float:
    """Return the mean of the tasks' scores.

    It reproduces the paper's overall: (SST accuracy + paraphrase accuracy + (STS Pearson + 1) / 2) / 3.

    Args:
        main: for each task the name and value of its main metric.
    """
    return float(np.mean([task_score(name, value) for name, value in main.values()]))
