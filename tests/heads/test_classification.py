import math

import numpy as np
import pytest
import torch
from components import numbers

from mbert_cli.calibration import Decision
from mbert_cli.errors import OptionError
from mbert_cli.heads.classification import Classification

LOGITS = [[1.0, 2.0, -1.0], [0.5, 0.0, 0.25], [-3.0, 0.0, 4.0]]
LABELS = [1.0, 2.0, 2.0]


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def test_logits_are_one_linear_layer():
    head = Classification(4, num_classes=3).eval()
    u = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    expected = u.numpy() @ head.linear.weight.detach().numpy().T + head.linear.bias.detach().numpy()
    np.testing.assert_allclose(head(u).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_dropout_is_active_only_in_training():
    head = Classification(4, num_classes=3, dropout=0.5)
    u = torch.ones(200, 4)
    torch.manual_seed(0)
    assert not torch.equal(head(u)[0].expand(200, 3), head(u))
    head.eval()
    assert torch.equal(head(u)[0].expand(200, 3), head(u))


def test_loss_is_the_mean_cross_entropy():
    expected = sum(-math.log(softmax(row)[int(label)]) for row, label in zip(LOGITS, LABELS, strict=True)) / 3
    loss = Classification(4, num_classes=3).loss(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_predictions_are_the_most_likely_label_and_all_probabilities():
    head = Classification(4, labels=["low", "mid", "high"])
    columns = head.predict(torch.tensor(LOGITS))
    assert list(columns) == head.labels.columns == ["pred", "p_low", "p_mid", "p_high"]
    assert columns["pred"] == ["mid", "low", "high"]
    for index, label in enumerate(head.labels.names):
        assert columns[f"p_{label}"] == pytest.approx([softmax(row)[index] for row in LOGITS], rel=1e-5)


def test_metrics_are_macro_averages():
    found = Classification(4, num_classes=3).metrics(torch.tensor(LOGITS), torch.tensor(LABELS))
    # Predicted 1, 0, 2 for 1, 2, 2: precision 0, 1, 1; recall 0, 1, 1/2; F1 0, 1, 2/3.
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(1.5 / 3)
    assert found["f1"] == pytest.approx((1 + 2 / 3) / 3)
    assert found["confusion"] == [[0, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_the_numbers_reported_are_the_metric_names_except_loss():
    found = Classification(4, num_classes=3).metrics(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert numbers(found) == {*Classification.metric_names} - {"loss"}


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("4", 4), ("1.0", 1), ("2.", 2), (" 3 ", 3), ("3.0\n", 3)])
def test_numeric_labels_may_be_written_as_decimals(text, number):
    assert Classification(4, num_classes=5).labels.parse(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "-1",
        "1.5",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e999",
        "one",
        "",
        "1,0",
        "٣٣",
        "٣",
        "0_1",
        "0x1",
        "01",
        "1e0",
        "+1",
    ],
)
def test_an_unknown_class_is_refused_with_the_list_of_classes(text):
    with pytest.raises(ValueError, match="must be one of 0, 1, 2, 3, 4, but is") as error:
        Classification(4, num_classes=5).labels.parse(text)
    assert str(error.value).endswith(repr(text))


def test_of_many_classes_the_message_shows_the_first_and_the_last():
    with pytest.raises(ValueError, match="must be one of 0 to 99, but is '100'"):
        Classification(4, num_classes=100).labels.parse("100")


@pytest.mark.parametrize(("text", "number"), [("low", 0), ("mid", 1), (" high", 2)])
def test_names_of_classes_are_valid_labels(text, number):
    assert Classification(4, labels=["low", "mid", "high"]).labels.parse(text) == number


@pytest.mark.parametrize("text", ["Low", "lo", "0", "1.0"])
def test_names_are_matched_exactly(text):
    with pytest.raises(ValueError, match="must be one of low, mid, high"):
        Classification(4, labels=["low", "mid", "high"]).labels.parse(text)


def test_a_hundred_thousand_labels_are_allowed_and_a_long_label_is_shortened_in_the_message():
    head = Classification(1, num_classes=100_000)  # a quadratic check would take a minute
    with pytest.raises(ValueError, match=r"must be one of 0 to 99999, but is 'x{199}\.\.\."):
        head.labels.parse("x" * 10_000)


def test_an_exact_name_has_priority_over_a_whole_number():
    head = Classification(4, labels=["1.0", "1"])
    assert [head.labels.parse(text) for text in ("1.0", "1")] == [0, 1]


def test_numbers_with_leading_zeros_are_different_classes():
    head = Classification(4, labels=["1", "01", "007"])
    assert [head.labels.parse(text) for text in ("1", "1.0", "01", "007")] == [0, 0, 1, 2]
    assert head.predict(torch.tensor(LOGITS))["pred"] == ["01", "1", "007"]
    with pytest.raises(ValueError, match="must be one of 1, 01, 007, but is '7'"):
        head.labels.parse("7")


def test_names_are_compared_in_the_same_unicode_form():
    head = Classification(4, labels=["caf\u00e9", "the\u0301"])
    assert [head.labels.parse(text) for text in ("cafe\u0301", "th\u00e9")] == [0, 1]


def test_a_renamed_class_is_read_under_its_text_and_predicted_under_its_new_name():
    head = Classification(4, labels={"0": "no", "1": "yes", "2": "so-so"})
    assert [head.labels.parse(text) for text in ("0", "1.0", "2")] == [0, 1, 2]
    assert head.labels.columns == ["pred", "p_no", "p_yes", "p_so-so"]
    assert head.predict(torch.tensor(LOGITS))["pred"] == ["yes", "no", "so-so"]
    with pytest.raises(ValueError, match="must be one of 0, 1, 2, but is 'no'"):
        head.labels.parse("no")


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({}, "num_classes", "or labels must say which classes there are"),
        ({"num_classes": 3, "labels": ["a", "b"]}, "num_classes", "is 3, but 2 labels are named; leave it out"),
        (
            {"num_classes": 3, "class_weights": [1.0]},
            "class_weights",
            "must list a weight for each of the 3 classes, but lists 1",
        ),
        ({"labels": []}, "labels", "must name at least 2 classes, but names 0"),
        ({"labels": ["a"]}, "labels", "must name at least 2 classes, but names 1"),
        ({"labels": ["a", "b", "a"]}, "labels", "must be distinct, but 'a' appears twice"),
        (
            {"labels": ["a", " b"]},
            "labels",
            "must not contain line breaks, control characters, or leading or trailing spaces, but ' b' does",
        ),
        ({"labels": ["th\u00e9", "the\u0301"]}, "labels", "must be distinct, but 'th\u00e9' appears twice"),
        ({"labels": {"0": "no", "1": "no"}}, "labels", "must be distinct, but 'no' appears twice"),
        ({"labels": {"0": "no"}}, "labels", "must name at least 2 classes, but names 1"),
        (
            {"labels": ["a", ""]},
            "labels",
            "must not contain line breaks, control characters, or leading or trailing spaces, but '' does",
        ),
        (
            {"labels": ["a", "b\tc"]},
            "labels",
            r"must not contain line breaks, control characters, or leading or trailing spaces, but 'b\tc' does",
        ),
    ],
)
def test_options_without_valid_classes_are_refused(options, option, message):
    with pytest.raises(OptionError) as error:
        Classification(4, **options)
    assert (error.value.option, error.value.problem) == (option, message)


@pytest.mark.parametrize(
    "name", ["\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645", "\U0001f469\u200d\U0001f52c", "tr\u00e8s\u00a0bon"]
)
def test_joiners_and_hard_spaces_are_part_of_a_name(name):
    head = Classification(4, labels=["plain", name])
    assert head.labels.parse(name) == 1
    assert head.labels.columns == ["pred", "p_plain", f"p_{name}"]


def test_num_classes_may_be_given_with_the_same_number_of_labels():
    assert Classification(4, num_classes=2, labels=["a", "b"]).labels.names == ["a", "b"]


COUNTED = [0.0] * 6 + [1.0] * 3 + [2.0]


def test_balanced_class_weights_equal_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    head = Classification(4, num_classes=3, class_weights="balanced")
    head.observe(torch.tensor(COUNTED))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=np.array(COUNTED))
    np.testing.assert_allclose(head.class_weights.numpy(), expected, rtol=1e-6)


def test_a_class_without_examples_is_not_counted_and_has_weight_1():
    head = Classification(4, num_classes=4, class_weights="balanced")
    head.observe(torch.tensor(COUNTED))
    # Ten examples of three classes: 10 / (3 * 6), 10 / (3 * 3), 10 / (3 * 1).
    assert head.class_weights.tolist() == pytest.approx([5 / 9, 10 / 9, 10 / 3, 1])


def test_the_weighted_loss_is_the_weighted_mean_of_the_cross_entropies():
    weights = [0.5, 2.0, 3.0]
    terms = [(weights[int(y)], -math.log(softmax(row)[int(y)])) for row, y in zip(LOGITS, LABELS, strict=True)]
    expected = sum(w * term for w, term in terms) / sum(w for w, _ in terms)
    loss = Classification(4, num_classes=3, class_weights=weights).loss(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_only_balanced_weights_are_saved_with_the_model():
    plain = set(Classification(4, num_classes=3).state_dict())
    assert set(Classification(4, num_classes=3, class_weights=[1.0, 2.0, 3.0]).state_dict()) == plain
    assert set(Classification(4, num_classes=3, class_weights="balanced").state_dict()) == plain | {"class_weights"}


def test_a_temperature_changes_probabilities_and_calibration_error_but_no_prediction():
    head = Classification(4, num_classes=3)
    outputs, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    before, found = head.predict(outputs), head.metrics(outputs, labels)
    head.decision = Decision(temperature=2.0)
    after, again = head.predict(outputs), head.metrics(outputs, labels)
    assert after["pred"] == before["pred"]
    assert after["p_1"] == pytest.approx([softmax([z / 2 for z in row])[1] for row in LOGITS], rel=1e-5)
    assert {name for name in found if found[name] != again[name]} == {"ece", "decision"}
    assert (again["decision"]["temperature"], again["decision"]["threshold"]) == (2, 0.5)


def test_the_threshold_of_two_classes_applies_to_the_probability_of_the_second():
    head = Classification(4, labels=["no", "yes"])
    outputs = torch.tensor([[0.0, 1.0], [1.0, 2.5], [2.0, 0.0]])  # log-odds 1, 1.5, -2
    assert head.predict(outputs)["pred"] == ["yes", "yes", "no"]
    head.decision = Decision(cut=1.25)
    assert head.predict(outputs)["pred"] == ["no", "yes", "no"]
    assert head.predict(outputs)["p_yes"][0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert head.metrics(outputs, torch.tensor([0.0, 1.0, 0.0]))["accuracy"] == 1
