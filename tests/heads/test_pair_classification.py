import math

import numpy as np
import pytest
import torch
from components import numbers

from mbert_cli.calibration import Decision
from mbert_cli.errors import OptionError
from mbert_cli.heads.pair_classification import PairClassification

LOGITS = [2.0, -1.0, 0.5, -0.25]
LABELS = [1.0, 0.0, 0.0, 1.0]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_logit_is_linear_in_both_vectors_and_their_distance():
    torch.manual_seed(0)
    head = PairClassification(4).eval()
    u, v = torch.randn(5, 4), torch.randn(5, 4)
    weight, bias = head.linear.weight.detach().numpy()[0], head.linear.bias.item()
    a, b = u.numpy(), v.numpy()
    expected = a @ weight[:4] + b @ weight[4:8] + np.abs(a - b) @ weight[8:] + bias
    np.testing.assert_allclose(head(u, v).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_loss_is_the_mean_binary_cross_entropy():
    terms = [-math.log(sigmoid(x) if y else 1 - sigmoid(x)) for x, y in zip(LOGITS, LABELS, strict=True)]
    loss = PairClassification(4).loss(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert loss.item() == pytest.approx(sum(terms) / 4, rel=1e-5)


@pytest.mark.parametrize("labels", [None, ["different", "same"]])
def test_predictions_are_the_label_and_the_probability_of_the_positive_class(labels):
    head = PairClassification(4, labels=labels)
    columns = head.predict(torch.tensor(LOGITS))
    no, yes = labels or ["0", "1"]
    assert list(columns) == head.labels.columns == ["pred", "score"]
    assert columns["pred"] == [yes, no, yes, no]
    assert columns["score"] == pytest.approx([sigmoid(x) for x in LOGITS], rel=1e-5)


def test_the_loss_of_a_very_large_logit_is_finite():
    loss = PairClassification(4).loss(torch.tensor([-200.0, 200.0]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(200, rel=1e-5)


def test_metrics_are_for_the_positive_class():
    found = PairClassification(4).metrics(torch.tensor(LOGITS), torch.tensor(LABELS))
    # One of each: true positive, true negative, false positive, false negative.
    assert (found["accuracy"], found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5, 0.5)
    assert found["confusion"] == [[1, 1], [1, 1]]
    assert numbers(found) == {*PairClassification.metric_names} - {"loss"}


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("1", 1), ("0.0", 0), ("1.0", 1), (" 1 ", 1)])
def test_labels_may_be_written_as_decimals(text, number):
    assert PairClassification(4).labels.parse(text) == number


@pytest.mark.parametrize("text", ["2", "-1", "0.5", "nan", "yes", ""])
def test_a_label_that_is_neither_class_is_refused(text):
    with pytest.raises(ValueError, match="must be one of 0, 1, but is"):
        PairClassification(4).labels.parse(text)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"], "must name at least 2 classes, but names 1"),
        (["a", "b", "c"], "must list exactly two classes, the negative one first, but lists 3"),
        (["a", "a"], "must be distinct, but 'a' appears twice"),
    ],
)
def test_labels_must_be_two_and_distinct(labels, message):
    with pytest.raises(OptionError) as error:
        PairClassification(4, labels=labels)
    assert (error.value.option, error.value.problem) == ("labels", message)


def test_a_positive_weight_multiplies_the_loss_of_positive_pairs():
    terms = [-3 * math.log(sigmoid(x)) if y else -math.log(1 - sigmoid(x)) for x, y in zip(LOGITS, LABELS, strict=True)]
    loss = PairClassification(4, positive_weight=3.0).loss(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert loss.item() == pytest.approx(sum(terms) / 4, rel=1e-5)


def test_a_balanced_positive_weight_is_the_ratio_of_negatives_to_positives():
    head = PairClassification(4, positive_weight="balanced")
    head.observe(torch.tensor([0.0] * 12 + [1.0] * 5))
    assert head.positive_weight.item() == pytest.approx(12 / 5)
    head.observe(torch.ones(5))
    assert head.positive_weight.item() == 1


def test_only_a_balanced_weight_is_saved_with_the_model():
    plain = set(PairClassification(4).state_dict())
    assert set(PairClassification(4, positive_weight=2.0).state_dict()) == plain
    assert set(PairClassification(4, positive_weight="balanced").state_dict()) == plain | {"positive_weight"}


def test_predictions_depend_on_the_cut_and_scores_on_the_temperature():
    head = PairClassification(4)
    head.decision = Decision(cut=0.6, temperature=2.0)
    columns = head.predict(torch.tensor(LOGITS))
    assert columns["pred"] == ["1", "0", "0", "0"]
    assert columns["score"] == pytest.approx([sigmoid(x / 2) for x in LOGITS], rel=1e-5)
    found = head.metrics(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert (found["precision"], found["recall"], found["confusion"]) == (1, 0.5, [[2, 0], [1, 1]])
    assert found["decision"]["threshold"] == pytest.approx(sigmoid(0.3))
    # `pred` is positive if `score` is above the threshold.
    assert [score > found["decision"]["threshold"] for score in columns["score"]] == [True, False, False, False]


def test_the_calibration_error_is_for_the_most_likely_class_at_any_cut():
    head = PairClassification(4)
    outputs, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    before = head.metrics(outputs, labels)["ece"]
    # Confidences .881, .731, .622, .562, all in different bins; right, right, wrong, wrong.
    gaps = [1 - sigmoid(2), 1 - sigmoid(1), sigmoid(0.5), sigmoid(0.25)]
    assert before == pytest.approx(sum(gaps) / 4, rel=1e-5)
    head.decision = Decision(cut=5.0)
    assert head.metrics(outputs, labels)["ece"] == before


def test_both_classes_can_be_renamed():
    head = PairClassification(4, labels={"0": "no", "1": "yes"})
    assert [head.labels.parse(text) for text in ("0", "1")] == [0, 1]
    assert head.predict(torch.tensor([-1.0, 2.0]))["pred"] == ["no", "yes"]
