"""Metrics of a task, and the one score over all tasks."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

Metrics = dict[str, Any]
"""Names to numbers, and of a classification more: `labels`, the classes' names; `confusion`, how many examples of a
true label (row) were given a label (column); `confusion_shares`, each row divided by its sum; `per_class` and `macro`,
the precision, recall and F1 of every class and their means."""

Goal = Literal["classification", "regression"]
"""What a task's labels are: classes, or numbers on a scale."""

LOWER_IS_BETTER = frozenset({"loss", "mse", "mae", "ece"})
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
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = list(range(len(names)))
    *scores, support = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    confusion = confusion_matrix(labels, predicted, labels=classes)
    macro = {name: float(np.mean(values)) for name, values in zip(_PER_CLASS, scores, strict=True)}
    per_class = {
        label: {**dict(zip(_PER_CLASS, map(float, values), strict=True)), "support": int(count)}
        for label, count, *values in zip(names, support, *scores, strict=True)
    }
    chosen = macro if positive is None else {name: per_class[names[positive]][name] for name in _PER_CLASS}
    return {
        "accuracy": float((predicted == labels).mean()),
        **chosen,
        "macro": macro,
        "per_class": per_class,
        "confusion": confusion.tolist(),
        "confusion_shares": (confusion / np.maximum(support, 1)[:, None]).tolist(),
        "labels": list(names),
    }


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
