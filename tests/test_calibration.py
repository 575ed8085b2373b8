import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import log_loss

from mbert_cli.calibration import Decision, best_temperature, negative_log_likelihood


@given(st.floats(-1e3, 1e3), st.floats(0.02, 50))
def test_the_threshold_is_the_calibrated_probability_at_the_cut(cut, temperature):
    found = Decision(cut=cut, temperature=temperature).threshold
    with np.errstate(over="ignore"):
        assert found == pytest.approx(1 / (1 + np.exp(-np.float64(cut) / temperature)), abs=1e-12)
    assert Decision(temperature=temperature).threshold == 0.5


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.0},
        {"temperature": math.inf},
        {"cut": math.nan},
        {"cut": "1"},
        {"criterion": "f2"},
        {"cutt": 1.0},
    ],
)
def test_values_that_are_not_a_decision_are_rejected(values):
    with pytest.raises(ValidationError):
        Decision.model_validate(values)


def test_log_likelihood_equals_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 5, (40, 3)).astype(np.float32), rng.integers(0, 3, 40)
    scaled = np.exp(logits.astype(np.float64) / 2.5)
    expected = log_loss(labels, scaled / scaled.sum(1, keepdims=True), labels=[0, 1, 2])
    assert negative_log_likelihood(logits, labels, 2.5) == pytest.approx(expected)


def test_a_known_temperature_is_found():
    # The rows of each kind have classes in proportion to softmax(z), so the best temperature for 4 z is 4.
    shares = np.array([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7]])
    labels = np.concatenate([np.repeat([0, 1, 2], (10 * row).round().astype(int)) for row in shares])
    logits = 4 * np.log(np.repeat(shares, 10, axis=0))
    assert best_temperature(logits, labels) == pytest.approx(4, rel=1e-4)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_no_temperature_on_a_grid_is_better(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 50)
    logits = rng.normal(0, 3, (50, 3)) + 2 * np.eye(3)[labels]
    found = best_temperature(logits, labels)
    assert found is not None
    grid = [negative_log_likelihood(logits, labels, t) for t in np.geomspace(0.05, 40, 30)]
    assert negative_log_likelihood(logits, labels, found) <= min(grid) + 1e-9


def test_no_temperature_is_fitted_if_all_predictions_are_right_or_random():
    labels = np.array([0, 1, 0, 1])
    assert best_temperature(np.eye(2)[labels], labels) is None
    assert best_temperature(np.eye(2)[1 - labels], labels) is None
