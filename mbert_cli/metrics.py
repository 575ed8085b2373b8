"""Metrics of a task, and the one score over all tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Metrics = dict[str, Any]
"""Names to numbers; `confusion` is a list of rows, one a true label, and `labels` their names."""

LOWER_IS_BETTER = frozenset({"loss", "mse", "mae"})


def classification_metrics(
    predicted: np.ndarray, labels: np.ndarray, names: Sequence[str], positive: int | None
) -> Metrics:
    """Return accuracy, precision, recall, F1 and the confusion matrix.

    Args:
        predicted: class indices.
        labels: true class indices.
        names: of the classes, whether or not they occur.
        positive: the class that precision, recall and F1 are of; None for their macro average over all classes.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = list(range(len(names)))
    chosen = classes if positive is None else [positive]
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, labels=chosen, zero_division=0)
    return {
        "accuracy": float((predicted == labels).mean()),
        "precision": float(np.mean(precision)),
        "recall": float(np.mean(recall)),
        "f1": float(np.mean(f1)),
        "confusion": confusion_matrix(labels, predicted, labels=classes).tolist(),
        "labels": list(names),
    }


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


def overall(main: Mapping[str, tuple[str, float]]) -> float:
    """Return the mean of the tasks' scores.

    It reproduces the paper's overall: (SST accuracy + paraphrase accuracy + (STS Pearson + 1) / 2) / 3.

    Args:
        main: for each task the name and value of its main metric.
    """
    return float(np.mean([task_score(name, value) for name, value in main.values()]))
