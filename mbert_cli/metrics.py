"""Metrics of one task, and one score over all tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Metrics = dict[str, Any]
"""Numbers by name. A classification has more entries: `labels`, the names of the classes; `confusion`, the number of
examples for each true label (row) and predicted label (column); `confusion_shares`, the same with each row divided by
its sum; `per_class`, the precision, recall and F1 of every class; `macro`, the means of these over the classes.

With more than `MATRIX_LIMIT` classes, `confusion_entries` replaces both matrices: a list of [index of the true label,
index of the predicted label, number of examples] for the pairs that occur. `per_class` then has only the classes that
occur or are predicted. So the size of the metrics does not grow with the square of the number of classes."""

Goal = Literal["classification", "regression"]
"""The type of a task's labels: classes, or numbers."""

TaskKind = Literal["classification", "ordinal", "regression", "multi_label"]
"""The tasks that report the same metrics."""


@dataclass(frozen=True)
class MetricInfo:
    """What the rest of the package knows of a metric that is one number.

    Args:
        title: its name on pages.
        tasks: the kinds of tasks that report it. For these tasks it is a value of `training.select`.
        lower_is_better: whether lower values are better.
    """

    title: str
    tasks: tuple[TaskKind, ...]
    lower_is_better: bool = False


_CLASSES: tuple[TaskKind, ...] = ("classification", "ordinal")
_ORDERED: tuple[TaskKind, ...] = ("ordinal",)
_NUMBERS: tuple[TaskKind, ...] = ("regression",)
_SETS: tuple[TaskKind, ...] = ("multi_label",)
SCALAR_METRICS: Mapping[str, MetricInfo] = {
    "accuracy": MetricInfo("accuracy", _CLASSES),
    "precision": MetricInfo("precision", _CLASSES),
    "recall": MetricInfo("recall", _CLASSES),
    "f1": MetricInfo("F1", _CLASSES),
    "ece": MetricInfo("calibration error", _CLASSES, lower_is_better=True),
    "quadratic_kappa": MetricInfo("quadratic weighted kappa", _ORDERED),
    "pearson": MetricInfo("Pearson", _NUMBERS),
    "spearman": MetricInfo("Spearman", _NUMBERS),
    "mse": MetricInfo("mean squared error", _NUMBERS, lower_is_better=True),
    "mae": MetricInfo("mean absolute error", (*_ORDERED, *_NUMBERS), lower_is_better=True),
    "r2": MetricInfo("R²", _NUMBERS),
    "micro_f1": MetricInfo("micro F1", _SETS),
    "macro_f1": MetricInfo("macro F1", _SETS),
    "average_precision": MetricInfo("average precision", _SETS),
    "exact_match": MetricInfo("exact match", _SETS),
    "loss": MetricInfo("loss", (*_CLASSES, *_NUMBERS, *_SETS), lower_is_better=True),
}
"""Every metric that is one number, in the order of pages. A new metric needs an entry here."""
LOWER_IS_BETTER = frozenset(name for name, info in SCALAR_METRICS.items() if info.lower_is_better)
MATRIX_LIMIT = 100
"""The largest number of classes for which the whole confusion matrix is kept, written and drawn."""
_BINS = 15  # as in Guo et al.
_PER_CLASS = ("precision", "recall", "f1")


def metrics_of(task: TaskKind) -> tuple[str, ...]:
    """Return the names of the metrics that the tasks of a kind report, `loss` included."""
    return tuple(name for name, info in SCALAR_METRICS.items() if task in info.tasks)


def classification_metrics(
    predicted: np.ndarray, labels: np.ndarray, names: Sequence[str], positive: int | None
) -> Metrics:
    """Return accuracy, precision, recall, F1, the last three also per class and averaged, and the confusion matrix.

    A ratio with denominator 0 is 0: the precision of a class that is never predicted, and the recall and the shares of
    a class that never occurs.

    Args:
        predicted: predicted class indices.
        labels: true class indices.
        names: names of all classes, including those that do not occur.
        positive: index of the class for precision, recall and F1; None for the macro averages over all classes.
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


def ordinal_metrics(predicted: np.ndarray, labels: np.ndarray, number: int) -> Metrics:
    """Return the quadratic weighted kappa and the mean absolute error in classes, |index - predicted index|.

    Kappa = 1 - sum of O_ij (i - j)^2 / sum of E_ij (i - j)^2, where O counts the pairs of true class i and predicted
    class j, and E is what independent labels and predictions would give. It is 0 if the second sum is 0: all labels and
    all predictions are one class. Source: Cohen 1968, "Weighted kappa".

    Args:
        predicted: predicted class indices.
        labels: true class indices.
        number: number of classes.
    """
    counts = [np.bincount(each, minlength=number) for each in (labels, predicted)]
    distances = (np.arange(number)[:, None] - np.arange(number)) ** 2
    expected = float(np.outer(*counts)[distances > 0] @ distances[distances > 0]) / len(labels)
    observed = float(((labels - predicted) ** 2).sum())
    return {
        "quadratic_kappa": 1 - observed / expected if expected else 0.0,
        "mae": float(np.abs(labels - predicted).mean()),
    }


def multi_label_metrics(predicted: np.ndarray, scores: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Metrics:
    """Return the metrics of sets of labels.

    `micro_f1` is the F1 of all decisions of all labels together, `macro_f1` the mean of the labels' F1.
    `average_precision` is the mean of the labels' average precisions: sum over thresholds n of (R_n - R_(n-1)) P_n. It
    leaves out labels that no row has, for which it is undefined. `exact_match` is the share of rows whose set is
    predicted without an error. A ratio with denominator 0 is 0.

    Args:
        predicted: whether each label is predicted, 0 or 1, ``[examples, labels]``.
        scores: a score of each label; only its order matters.
        labels: whether each row has each label, 0 or 1.
        names: names of the labels.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    *values, support = precision_recall_fscore_support(labels, predicted, average=None, zero_division=0)
    macro = {name: float(np.mean(each)) for name, each in zip(_PER_CLASS, values, strict=True)}
    per_class = {
        name: {key: float(each[k]) for key, each in zip(_PER_CLASS, values, strict=True)} | {"support": int(support[k])}
        for k, name in enumerate(names)
    }
    precisions = {
        name: float(average_precision_score(labels[:, k], scores[:, k])) for k, name in enumerate(names) if support[k]
    }
    for name, value in precisions.items():
        per_class[name]["average_precision"] = value
    both, either = float((predicted * labels).sum()), float(predicted.sum() + labels.sum())
    return {
        "micro_f1": 2 * both / either if either else 0.0,
        "macro_f1": macro["f1"],
        "average_precision": float(np.mean(list(precisions.values()))) if precisions else 0.0,
        "exact_match": float((predicted == labels).all(axis=1).mean()),
        "macro": macro,
        "per_class": per_class,
        "labels": list(names),
    }


def _confusion(predicted: np.ndarray, labels: np.ndarray, number: int) -> Metrics:
    """Return the confusion of `number` classes for the metrics: two matrices, or only the entries that are not 0."""
    if number > MATRIX_LIMIT:
        pairs, counts = np.unique(np.stack([labels, predicted], axis=1), axis=0, return_counts=True)
        return {"confusion_entries": np.column_stack([pairs, counts]).tolist()}
    matrix = np.bincount(labels * number + predicted, minlength=number * number).reshape(number, number)
    shares = matrix / np.maximum(matrix.sum(axis=1), 1)[:, None]
    return {"confusion": matrix.tolist(), "confusion_shares": shares.tolist()}


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error: the mean difference between confidence and accuracy.

    ECE = sum over bins m of |B_m| / n * |accuracy in B_m - mean confidence in B_m|, where B_m contains the examples
    with a confidence in ((m - 1) / 15, m / 15]. Source: Guo et al. 2017, equation 3, with their 15 bins.

    Args:
        confidences: probability of the predicted class of each example.
        right: whether the prediction is correct.
    """
    bins = np.searchsorted(np.arange(1, _BINS) / _BINS, confidences)
    gaps = np.bincount(bins, right.astype(np.float64) - confidences, _BINS)
    return float(np.abs(gaps).sum() / len(confidences))


def regression_metrics(predicted: np.ndarray, labels: np.ndarray) -> Metrics:
    """Return Pearson's and Spearman's correlation, MSE, MAE and R^2.

    A correlation with a constant is undefined. It is reported as 0, because nothing was explained.
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


_CORRELATIONS = ("pearson", "spearman", "quadratic_kappa")
_MOST_DESCRIBED = 6  # tasks in one sentence


def task_score(name: str, value: float) -> float:
    """Map a task's main metric to [0, 1]: a correlation or kappa r to (r + 1) / 2; other metrics do not change."""
    return (value + 1) / 2 if name in _CORRELATIONS else value


def percent(share: float) -> str:
    """Return a share as a percentage for users; only 0 is shown as 0%, and only 1 as 100%."""
    if 0 < share <= 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def overall(main: Mapping[str, tuple[str, float]]) -> float:
    """Return the mean of the tasks' scores.

    For the paper's tasks this is its overall score: (SST accuracy + paraphrase accuracy + (STS Pearson + 1) / 2) / 3.

    Args:
        main: name and value of each task's main metric.
    """
    return float(np.mean([task_score(name, value) for name, value in main.values()]))


def describe_overall(main: Mapping[str, str]) -> str:
    """Return a sentence about what `overall` is the mean of.

    Args:
        main: name of each task's main metric.
    """
    if len(main) > _MOST_DESCRIBED:
        return "overall is the mean of the tasks' main scores; a correlation r counts as (r + 1) / 2"
    terms = [f"({task} {name} + 1) / 2" if name in _CORRELATIONS else f"{task} {name}" for task, name in main.items()]
    if len(terms) == 1:
        return f"overall is {terms[0]}"
    return f"overall is the mean of {', '.join(terms[:-1])} and {terms[-1]}"
