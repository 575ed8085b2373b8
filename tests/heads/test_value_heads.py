"""Properties of all heads whose labels are numbers."""

import numpy as np
import pytest
import torch

from mbert_cli.heads.cosine_similarity import CosineSimilarity
from mbert_cli.heads.dual_similarity import DualSimilarity
from mbert_cli.heads.regression import Regression

EXTREMES = {
    Regression: torch.tensor([-50.0, 0.0, 50.0]),
    CosineSimilarity: torch.tensor([-1.0, 0.5, 1.0000001]),
    DualSimilarity: torch.tensor([[-50.0, -50.0], [0.0, 0.0], [50.0, 50.0]]),
}
KINDS = list(EXTREMES)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_range_from_min_to_scale(kind):
    head = kind(4, scale=5.0, min=1.0)
    assert head.values(EXTREMES[kind]).tolist() == [1.0, 3.0, 5.0]
    assert head.predict(EXTREMES[kind])["pred"] == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("kind", KINDS)
def test_max_is_the_new_name_of_scale(kind):
    assert kind(4, max=5.0, min=1.0).values(EXTREMES[kind]).tolist() == [1.0, 3.0, 5.0]
    assert kind(4, max=5.0, scale=5.0).labels.high == kind(4).labels.high == 5


@pytest.mark.parametrize("kind", KINDS)
def test_min_may_be_negative(kind):
    head = kind(4, scale=1.0, min=-1.0)
    assert head.values(EXTREMES[kind]).tolist() == [-1.0, 0.0, 1.0]
    assert head.labels.parse("-0.5") == -0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_below_min_is_refused(kind):
    with pytest.raises(ValueError, match="must be a number from 1 to 5, but is '0.9'"):
        kind(4, scale=5.0, min=1.0).labels.parse("0.9")


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_same_if_labels_and_scale_are_shifted(kind):
    outputs, labels = EXTREMES[kind], torch.tensor([0.5, 2.0, 3.0])
    expected = kind(4, scale=4.0).loss(outputs, labels).item()
    assert kind(4, scale=5.0, min=1.0).loss(outputs, labels + 1).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_the_loss_is_minimal_at_the_label_if_min_is_1(loss):
    head, label = Regression(4, scale=5.0, min=1.0, loss=loss), torch.tensor([2.0])
    at = torch.special.logit(torch.tensor([0.25]))
    assert head.loss(at, label) < min(head.loss(at - 0.1, label), head.loss(at + 0.1, label))


def test_metrics_are_on_the_scale_of_the_labels():
    labels = np.array([1.0, 2.0, 5.0])
    found = Regression(4, scale=5.0, min=1.0).metrics(EXTREMES[Regression], torch.from_numpy(labels).float())
    assert found["mae"] == pytest.approx(np.abs(np.array([1.0, 3.0, 5.0]) - labels).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("3,7", "3.7"), ("1,234", "1.234 or 1234"), ("1.234,5", "1234.5"), ("1,234,567.5", "1234567.5"), ("10%", "10")],
)
def test_the_message_has_the_plain_form_of_a_number_with_a_comma_or_percent_sign(text, plain):
    with pytest.raises(ValueError, match=rf"but is '{text}' \(write {plain}\)$"):
        Regression(4).labels.parse(text)
