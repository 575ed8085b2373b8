"""The fast metrics of chosen rows agree with the metrics of an evaluation, which scikit-learn and scipy compute."""

import numpy as np
import pytest

from mbert_cli.metrics import classification_metrics, multi_label_metrics, ordinal_metrics, regression_metrics
from mbert_cli.reports.row_scores import class_scores, number_scores, set_scores

ROWS = 40


def check(scores, expected):
    """Compare scores of all rows, of resamples, and of a single row with `expected`."""
    rng = np.random.default_rng(0)
    for rows in (np.arange(ROWS), *rng.integers(ROWS, size=(5, ROWS)), np.array([3])):
        metrics = expected(rows)
        assert {name: score(rows) for name, score in scores.items()} == pytest.approx(
            {name: metrics[name] for name in scores}, abs=1e-12
        )


@pytest.mark.parametrize(("number", "positive"), [(2, 1), (2, None), (5, None), (30, None)])
def test_classes(number, positive):
    rng = np.random.default_rng(number)
    labels, predicted = rng.integers(number, size=(2, ROWS))
    scores = class_scores(labels, predicted, number, positive, ordered=number == 5)
    names = [str(each) for each in range(number)]
    assert set(scores) == {"accuracy", "precision", "recall", "f1"} | (
        {"quadratic_kappa", "mae"} if number == 5 else set()
    )
    check(
        scores,
        lambda rows: (
            classification_metrics(predicted[rows], labels[rows], names, positive)
            | ordinal_metrics(predicted[rows], labels[rows], number)
        ),
    )


def test_numbers():
    rng = np.random.default_rng(1)
    labels = rng.integers(5, size=ROWS) / 2  # with ties
    predicted = np.round(labels + rng.normal(size=ROWS), 1)
    scores = number_scores(labels, predicted)
    assert set(scores) == {"pearson", "spearman", "mse", "mae", "r2"}
    check(scores, lambda rows: regression_metrics(predicted[rows], labels[rows]))
    check(number_scores(labels, 0 * labels), lambda rows: regression_metrics(0 * labels[rows], labels[rows]))


def test_sets():
    rng = np.random.default_rng(2)
    labels, predicted = rng.random((2, ROWS, 4)) < [0.5, 0.3, 0.1, 0.0]
    scores = set_scores(labels, predicted)
    assert set(scores) == {"micro_f1", "macro_f1", "exact_match"}
    names = list("abcd")
    check(
        scores,
        lambda rows: multi_label_metrics(predicted[rows].astype(int), predicted[rows], labels[rows].astype(int), names),
    )
