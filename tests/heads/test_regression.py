import numpy as np
import pytest
import torch
from components import numbers
from scipy.special import expit

from mbert_cli.heads.regression import Regression

LOGITS = [0.7, -1.2, 0.0, 3.0]
LABELS = [4.0, 1.0, 2.0, 5.0]


def test_outputs_are_a_linear_function_of_one_sentence_vector():
    head = Regression(4).eval()
    u = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    weight, bias = head.linear.weight.detach().numpy(), head.linear.bias.detach().numpy()
    np.testing.assert_allclose(head(u).detach().numpy(), u.numpy() @ weight[0] + bias, rtol=1e-5, atol=1e-6)


def test_dropout_is_active_only_in_training():
    u = torch.ones(64, 8)
    assert Regression(8, dropout=0.5).train()(u).unique().numel() > 1
    assert Regression(8, dropout=0.5).eval()(u).unique().numel() == 1


def test_cross_entropy_uses_the_share_of_the_scale_as_a_probability():
    shares, y = expit(np.array(LOGITS)), np.array(LABELS) / 5
    expected = -(y * np.log(shares) + (1 - y) * np.log(1 - shares)).mean()
    assert Regression(4).loss(torch.tensor(LOGITS), torch.tensor(LABELS)).item() == pytest.approx(expected, rel=1e-5)


def test_squared_error_is_on_the_labels_scale():
    head = Regression(4, loss="squared_error", scale=10.0)
    expected = np.mean((10 * expit(np.array(LOGITS)) - np.array(LABELS)) ** 2)
    assert head.loss(torch.tensor(LOGITS), torch.tensor(LABELS)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_both_losses_are_minimal_at_the_label(loss):
    head = Regression(4, loss=loss)
    label = torch.tensor([3.0])
    at = torch.special.logit(label / 5)
    assert head.loss(at, label) < min(head.loss(at - 0.1, label), head.loss(at + 0.1, label))


def test_predictions_are_values_on_the_scale_and_their_shares():
    columns = Regression(4, scale=2.0).predict(torch.tensor(LOGITS))
    assert list(columns) == Regression(4).labels.columns
    assert columns["score"] == pytest.approx(expit(LOGITS), rel=1e-6)
    assert columns["pred"] == pytest.approx(2 * expit(LOGITS), rel=1e-6)


def test_metrics_are_computed_from_the_predicted_values():
    found = Regression(4).metrics(torch.tensor(LOGITS), torch.tensor(LABELS))
    predicted, labels = 5 * expit(np.array(LOGITS)), np.array(LABELS)
    assert found["mse"] == pytest.approx(((predicted - labels) ** 2).mean(), rel=1e-5)
    assert found["pearson"] == pytest.approx(np.corrcoef(predicted, labels)[0, 1], rel=1e-5)
    assert numbers(found) == {*Regression.metric_names} - {"loss"}


@pytest.mark.parametrize(("text", "value"), [("0", 0), (" 2.50 ", 2.5), ("1e0", 1)])
def test_labels_are_numbers_on_the_scale(text, value):
    assert Regression(4).labels.parse(text) == value


@pytest.mark.parametrize("text", ["5.01", "-0.1", "nan", "many", "3,5"])
def test_a_label_that_is_not_a_number_on_the_scale_is_refused(text):
    with pytest.raises(ValueError, match="must be a number from 0 to 5, but is"):
        Regression(4).labels.parse(text)
