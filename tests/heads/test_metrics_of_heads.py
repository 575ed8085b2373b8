"""Every metric of every head equals that of scikit-learn or SciPy on random outputs, to 1e-12."""

import numpy as np
import torch
from components import built, every
from scipy import stats
from scipy.special import expit, softmax
from sklearn import metrics as sk

from mbert_cli.heads import BinaryHead, ClassHead, ValueHead
from mbert_cli.metrics import SCALAR_METRICS

ROWS = 300


def outputs_and_labels(head):
    """Return random outputs of a head, as its `forward` returns them, and random labels."""
    rng = np.random.default_rng(11)
    if isinstance(head, ValueHead):
        low, high = (head.labels.low, head.labels.high) if hasattr(head.labels, "low") else (-40.0, 90.0)
        outputs = rng.uniform(-1, 1, (ROWS, 1 + len(head.sides) // 3 + head.late_interaction)).squeeze()
        return torch.from_numpy(outputs), torch.from_numpy(rng.uniform(low, high, ROWS))
    if not isinstance(head, ClassHead):  # several labels for each row
        shape = (ROWS, len(head.labels))
        return torch.from_numpy(rng.normal(size=shape)), torch.from_numpy((rng.random(shape) < 0.3).astype(float))
    labels = torch.from_numpy(rng.integers(0, len(head.labels), ROWS).astype(float))
    if isinstance(head, BinaryHead):
        return torch.from_numpy(rng.normal(size=(ROWS, 1 + len(head.sides) // 3)).squeeze() * 3), labels
    return torch.from_numpy(rng.normal(size=(ROWS, len(head.labels))) * 2).log_softmax(-1), labels


def calibration_error(p, y):
    """Return the expected calibration error of the most likely classes, with a loop over 15 bins."""
    confidence, right = p.max(1), p.argmax(1) == y
    total = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def of_classes(head, outputs, y):
    z = head.logits(outputs).numpy()
    p = softmax(z, axis=1)
    if head.main_metric == "quadratic_kappa":
        predicted = (p @ np.abs(np.arange(len(p[0]))[:, None] - np.arange(len(p[0])))).argmin(1)
    else:
        predicted = z.argmax(1)
    average = {"average": "binary" if isinstance(head, BinaryHead) else "macro", "zero_division": 0}
    return {
        "accuracy": sk.accuracy_score(y, predicted),
        "precision": sk.precision_score(y, predicted, **average),
        "recall": sk.recall_score(y, predicted, **average),
        "f1": sk.f1_score(y, predicted, **average),
        "ece": calibration_error(p, y),
        "quadratic_kappa": sk.cohen_kappa_score(y, predicted, weights="quadratic"),
        "mae": sk.mean_absolute_error(y, predicted),
    }


def of_numbers(head, outputs, y):
    predicted = head.values(outputs).numpy()
    return {
        "pearson": stats.pearsonr(predicted, y).statistic,
        "spearman": stats.spearmanr(predicted, y).statistic,
        "mse": sk.mean_squared_error(y, predicted),
        "mae": sk.mean_absolute_error(y, predicted),
        "r2": sk.r2_score(y, predicted),
    }


def of_sets(outputs, y):
    p = expit(outputs.numpy())
    return {
        "micro_f1": sk.f1_score(y, p > 0.5, average="micro"),
        "macro_f1": sk.f1_score(y, p > 0.5, average="macro"),
        "average_precision": sk.average_precision_score(y, p, average="macro"),
        "exact_match": sk.accuracy_score(y, p > 0.5),
    }


@every("heads")
def test_every_metric_of_a_head_equals_that_of_scikit_learn(kind, options):
    head = built("heads", kind, options, 4).double().eval()
    outputs, labels = outputs_and_labels(head)
    reported = head.metrics(outputs, labels)
    if isinstance(head, ValueHead):
        expected = of_numbers(head, outputs, labels.numpy())
    elif isinstance(head, ClassHead):
        expected = of_classes(head, outputs, labels.long().numpy())
    else:
        expected = of_sets(outputs, labels.long().numpy())
    names = {*head.metric_names} - {"loss"}
    assert names == {*reported} & {*SCALAR_METRICS}
    for name in names:
        assert abs(reported[name] - expected[name]) < 1e-12, name
