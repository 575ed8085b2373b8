"""The metrics of any choice of rows, computed fast enough for thousands of choices.

`metrics.py` defines these metrics. A test checks that both agree.

Must not import torch: fast start-up.
"""

import math
from collections.abc import Callable

import numpy as np

RowScore = Callable[[np.ndarray], float]
"""Returns a metric of the rows with the given numbers. A row may be chosen several times."""

RIGHT_OR_WRONG = ("accuracy", "exact_match")
"""The metrics that are a share of correct rows."""


def class_scores(
    labels: np.ndarray, predicted: np.ndarray, number: int, positive: int | None, ordered: bool
) -> dict[str, RowScore]:
    """Return the metrics of a classification.

    Args:
        labels: index of the true class of each row.
        predicted: index of the predicted class of each row.
        number: number of classes.
        positive: see `metrics.classification_metrics`.
        ordered: the classes are ordered.
    """
    right = labels == predicted

    def counts(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each class how often it is true, predicted, and both."""
        true = labels[rows]
        each = (true, predicted[rows], true[right[rows]])
        true_count, predicted_count, both = (np.bincount(values, minlength=number) for values in each)
        return true_count, predicted_count, both

    def precision(rows: np.ndarray) -> float:
        _, taken, both = counts(rows)
        return _averaged(_ratios(both, taken), positive)

    def recall(rows: np.ndarray) -> float:
        true, _, both = counts(rows)
        return _averaged(_ratios(both, true), positive)

    def f1(rows: np.ndarray) -> float:
        true, taken, both = counts(rows)
        return _averaged(_ratios(2 * both, true + taken), positive)

    scores: dict[str, RowScore] = {
        "accuracy": lambda rows: float(right[rows].mean()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    if ordered:
        own, other = labels.astype(np.float64), predicted.astype(np.float64)
        scores["quadratic_kappa"] = lambda rows: _quadratic_kappa(own[rows], other[rows])
        scores["mae"] = lambda rows: float(np.abs(own[rows] - other[rows]).mean())
    return scores


def number_scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, RowScore]:
    """Return the metrics of a regression.

    Args:
        labels: the true number of each row.
        predicted: the predicted number of each row.
    """
    errors = predicted - labels

    def r2(rows: np.ndarray) -> float:
        true = labels[rows]
        if np.ptp(true) == 0 or np.ptp(predicted[rows]) == 0:
            return 0.0
        return 1 - float((errors[rows] ** 2).sum() / ((true - true.mean()) ** 2).sum())

    return {
        "pearson": lambda rows: _correlation(predicted[rows], labels[rows]),
        "spearman": lambda rows: _correlation(_ranks(predicted[rows]), _ranks(labels[rows])),
        "mse": lambda rows: float((errors[rows] ** 2).mean()),
        "mae": lambda rows: float(np.abs(errors[rows]).mean()),
        "r2": r2,
    }


def set_scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, RowScore]:
    """Return the metrics of sets of labels, except the average precision, which needs a sorting for each label.

    Args:
        labels: whether each row has each label, ``[rows, labels]``.
        predicted: whether each label is predicted.
    """
    both = labels & predicted
    hits, sizes = both.sum(axis=1), labels.sum(axis=1) + predicted.sum(axis=1)
    exact = (labels == predicted).all(axis=1)

    def micro_f1(rows: np.ndarray) -> float:
        size = sizes[rows].sum()
        return float(2 * hits[rows].sum() / size) if size else 0.0

    def macro_f1(rows: np.ndarray) -> float:
        size = labels[rows].sum(axis=0) + predicted[rows].sum(axis=0)
        return float(_ratios(2 * both[rows].sum(axis=0), size).mean())

    return {"micro_f1": micro_f1, "macro_f1": macro_f1, "exact_match": lambda rows: float(exact[rows].mean())}


def _ratios(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return counts divided by totals; a ratio with denominator 0 is 0."""
    return counts / np.maximum(totals, 1)


def _averaged(values: np.ndarray, positive: int | None) -> float:
    return float(values.mean() if positive is None else values[positive])


def _quadratic_kappa(labels: np.ndarray, predicted: np.ndarray) -> float:
    # The expected sum of squared distances of independent labels and predictions, multiplied out.
    expected = (labels**2).sum() + (predicted**2).sum() - 2 * labels.sum() * predicted.sum() / len(labels)
    return 1 - float(((labels - predicted) ** 2).sum() / expected) if expected > 0 else 0.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's correlation; 0 with a constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    return max(-1.0, min(1.0, float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))))


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata  # here, because the import is slow and few metrics need it

    return np.asarray(rankdata(values))
