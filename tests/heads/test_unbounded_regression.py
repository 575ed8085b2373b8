import numpy as np
import pytest
import torch
from components import numbers

from mbert_cli.heads.unbounded_regression import UnboundedRegression

PRICES = [120_000.0, 90_000.0, 300_000.0, 150_000.0]
OUTPUTS = torch.tensor([0.5, -1.0, 0.0, 2.0])


def observing(labels=PRICES, **options) -> UnboundedRegression:
    head = UnboundedRegression(4, **options)
    head.observe(torch.tensor(labels))
    return head


def test_predictions_are_in_the_unit_of_the_labels():
    expected = np.mean(PRICES) + np.std(PRICES) * OUTPUTS.numpy()
    assert observing().predict(OUTPUTS)["pred"] == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize(("loss", "power"), [("squared_error", 2), ("absolute_error", 1)])
def test_the_loss_compares_standardised_labels(loss, power):
    standardised = (np.array(PRICES) - np.mean(PRICES)) / np.std(PRICES)
    expected = np.mean(np.abs(OUTPUTS.numpy() - standardised) ** power)
    assert observing(loss=loss).loss(OUTPUTS, torch.tensor(PRICES)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_loss_does_not_depend_on_the_unit(unit):
    labels = [unit * price for price in PRICES]
    expected = observing().loss(OUTPUTS, torch.tensor(PRICES)).item()
    assert observing(labels).loss(OUTPUTS, torch.tensor(labels)).item() == pytest.approx(expected, rel=1e-4)


def test_equal_labels_have_deviation_1():
    assert observing([3.0, 3.0]).predict(OUTPUTS)["pred"] == pytest.approx((3 + OUTPUTS).tolist())


def test_mean_and_deviation_are_saved_with_the_weights():
    other = UnboundedRegression(4)
    other.load_state_dict(observing().state_dict())
    expected = np.mean(PRICES) + np.std(PRICES) * OUTPUTS.numpy()
    assert other.predict(OUTPUTS)["pred"] == pytest.approx(expected.tolist(), rel=1e-6)


def test_metrics_are_in_the_unit_of_the_labels():
    metrics = observing().metrics(OUTPUTS, torch.tensor(PRICES))
    predicted = np.mean(PRICES) + np.std(PRICES) * OUTPUTS.numpy()
    assert metrics["mae"] == pytest.approx(np.abs(predicted - PRICES).mean(), rel=1e-6)
    assert numbers(metrics) == {*UnboundedRegression.metric_names} - {"loss"}


@pytest.mark.parametrize("text", ["nan", "inf", "many", "1e31", "1,5"])
def test_a_label_that_is_not_a_finite_number_is_rejected(text):
    with pytest.raises(ValueError, match=rf"must be a number of at most 1e\+30, but is '{text}'"):
        UnboundedRegression(4).labels.parse(text)


def test_any_finite_number_is_a_label():
    assert [UnboundedRegression(4).labels.parse(text) for text in ("-3", " 2.5e5 ")] == [-3, 250_000]
