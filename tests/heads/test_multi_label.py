import re

import numpy as np
import pytest
import torch
from components import numbers
from scipy.special import expit
from sklearn import metrics as sk
from torch.nn.functional import binary_cross_entropy_with_logits

from mbert_cli.calibration import LabelDecision, best_temperature
from mbert_cli.data.label_sets import LabelSets, parse_flag
from mbert_cli.evaluation.tune import fit_temperature, fit_thresholds
from mbert_cli.heads.multi_label import MultiLabel
from mbert_cli.terminal.console import Console

NAMES = ["rude", "threat", "insult"]
OUTPUTS = torch.tensor([[1.5, -0.5, -2.0], [-1.0, 2.0, -0.25], [-3.0, -0.1, -1.0], [0.5, 0.5, -0.5]])
TRUTH = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])


def head(**options) -> MultiLabel:
    return MultiLabel(4, labels=NAMES, **options)


def test_outputs_are_a_logit_for_each_label():
    u = torch.ones(5, 4)
    built = head().eval()
    expected = built.linear.weight.sum(1) + built.linear.bias
    torch.testing.assert_close(built(u), expected.expand(5, 3))


def test_the_loss_is_the_binary_cross_entropy_of_all_labels():
    p, y = expit(OUTPUTS.numpy()), TRUTH.numpy()
    expected = -(3 * y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert head(positive_weight=3.0).loss(OUTPUTS, TRUTH).item() == pytest.approx(expected, rel=1e-5)


def test_positive_weights_may_differ_between_labels():
    expected = binary_cross_entropy_with_logits(OUTPUTS, TRUTH, pos_weight=torch.tensor([1.0, 2.0, 0.5]))
    assert head(positive_weight=[1.0, 2.0, 0.5]).loss(OUTPUTS, TRUTH) == expected


def test_balanced_weights_are_the_ratio_of_rows_without_and_with_a_label():
    built = head(positive_weight="balanced")
    built.observe(torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]))
    assert built.positive_weight.tolist() == pytest.approx([1 / 3, 3, 1])
    assert "positive_weight" in built.state_dict()


def test_the_loss_of_all_rows_is_the_weighted_mean_of_the_losses_of_parts():
    built = head(positive_weight=3.0)
    parts = [(built.loss(OUTPUTS[rows], TRUTH[rows]), built.label_weight(TRUTH[rows])) for rows in ([0], [1, 2, 3])]
    mean = sum(loss * weight for loss, weight in parts) / built.label_weight(TRUTH)
    assert mean.item() == pytest.approx(built.loss(OUTPUTS, TRUTH).item(), rel=1e-6)
    assert built.soft_loss(OUTPUTS, TRUTH) == built.loss(OUTPUTS, TRUTH)


def test_predictions_join_the_labels_above_their_thresholds():
    columns = head(delimiter="; ").predict(OUTPUTS)
    assert list(columns) == ["pred", "p_rude", "p_threat", "p_insult"]
    assert columns["pred"] == ["rude", "threat", "", "rude; threat"]
    assert columns["p_threat"] == pytest.approx(expit(OUTPUTS[:, 1].numpy()), rel=1e-6)


def test_each_label_has_its_own_threshold_and_the_temperature_changes_no_prediction():
    built = head()
    built.decision = LabelDecision(cuts={"insult": -0.4, "rude": 1.0}, temperature=3.0)
    assert built.predict(OUTPUTS)["pred"] == ["rude", "threat,insult", "", "threat"]
    assert built.decision.threshold("insult") == pytest.approx(expit(-0.4 / 3))
    assert built.decision.threshold("threat") == 0.5


def random_rows(count=200):
    rng = np.random.default_rng(0)
    truth = (rng.random((count, 3)) < [0.5, 0.2, 0.05]).astype(np.float32)
    return torch.from_numpy(rng.normal(truth, 1).astype(np.float32)), torch.from_numpy(truth)


def test_metrics_agree_with_scikit_learn():
    outputs, truth = random_rows()
    found = head().metrics(outputs, truth)
    y, p, s = truth.numpy(), (outputs > 0).numpy(), outputs.numpy()
    assert abs(found["micro_f1"] - sk.f1_score(y, p, average="micro")) < 1e-12
    assert abs(found["macro_f1"] - sk.f1_score(y, p, average="macro")) < 1e-12
    assert abs(found["average_precision"] - sk.average_precision_score(y, s, average="macro")) < 1e-12
    assert abs(found["exact_match"] - sk.accuracy_score(y, p)) < 1e-12
    per_label = sk.f1_score(y, p, average=None)
    assert [found["per_class"][name]["f1"] for name in NAMES] == pytest.approx(per_label, abs=1e-12)
    assert numbers(found) == {*MultiLabel.metric_names} - {"loss"}


def test_a_label_without_rows_has_no_average_precision():
    found = head().metrics(OUTPUTS, TRUTH * torch.tensor([1.0, 1.0, 0.0]))
    # rude: its only row has the highest score. threat: its two rows have the two highest scores.
    assert found["average_precision"] == 1
    assert "average_precision" not in found["per_class"]["insult"]
    assert found["per_class"]["insult"]["support"] == 0


def test_metrics_are_0_if_no_row_has_or_gets_a_label():
    found = head().metrics(torch.full((2, 3), -1.0), torch.zeros(2, 3))
    assert (found["micro_f1"], found["macro_f1"], found["average_precision"], found["exact_match"]) == (0, 0, 0, 1)


@pytest.mark.parametrize("criterion", ["f1", "accuracy"])
def test_fitted_thresholds_are_the_best_of_each_label(criterion):
    outputs, truth = random_rows()
    built = head()
    fit_thresholds(built, outputs, truth, criterion)
    decided, score = built.decided(outputs), sk.f1_score if criterion == "f1" else sk.accuracy_score
    for k in range(3):
        y, s = truth[:, k].numpy(), outputs[:, k].numpy()
        cuts = [*s, s.max() + 1, s.min() - 1]
        best = max(score(y, s > cut, **({"zero_division": 0} if criterion == "f1" else {})) for cut in cuts)
        assert score(y, decided[:, k]) == pytest.approx(best, abs=1e-12)


def test_a_label_of_all_rows_keeps_its_threshold_and_the_temperature_is_fitted():
    outputs, truth = random_rows()
    truth[:, 0] = 1
    built = head()
    fit_thresholds(built, 5 * outputs, truth, "f1")
    assert {*built.decision.cuts} == {"threat", "insult"}
    z, y = 5 * outputs.double().numpy(), truth.numpy()
    z /= best_temperature(*built.likelihood_data(5 * outputs, truth))
    loss = sk.log_loss(y.ravel(), expit(z).ravel())
    assert loss < sk.log_loss(y.ravel(), expit(1.02 * z).ravel())
    assert loss < sk.log_loss(y.ravel(), expit(0.98 * z).ravel())


def test_a_temperature_that_cannot_be_fitted_is_reported(capsys):
    built = head()
    fit_temperature("flags", built, 10 * (2 * TRUTH - 1), TRUTH, Console())
    assert built.decision == LabelDecision()
    assert "task flags: the temperature was not fitted: the optimum lies outside" in capsys.readouterr().err


def test_rows_with_the_same_labels_are_described():
    labels = [torch.zeros(4, 3), torch.ones(4, 3), TRUTH]
    assert [head().common_label(each) for each in labels] == ["no label", "all labels", None]


@pytest.mark.parametrize(
    ("text", "flags"), [("rude", (1, 0, 0)), ("", (0, 0, 0)), (" insult , rude,", (1, 0, 1)), ("rude,rude", (1, 0, 0))]
)
def test_a_cell_lists_labels(text, flags):
    assert LabelSets(NAMES).parse(text) == flags


def test_an_unknown_label_in_a_list_is_reported_with_the_nearest():
    message = "must list some of rude, threat, insult, separated by '|', but contains 'Rude' (did you mean 'rude'?)"
    with pytest.raises(ValueError, match=re.escape(message)):
        LabelSets(NAMES, "|").parse("threat|Rude")


def test_renamed_labels_are_joined_by_their_new_names():
    sets = LabelSets({"0": "no", "1": "yes"})
    assert sets.joined(sets.parse("1,0")) == "no,yes"


@pytest.mark.parametrize(("text", "flag"), [("1", 1), ("0.0", 0), ("True", 1), ("false", 0)])
def test_a_cell_of_a_column_for_one_label_is_0_or_1(text, flag):
    assert parse_flag(text) == flag


@pytest.mark.parametrize("text", ["2", "", "yes", "0.5"])
def test_another_cell_of_such_a_column_is_rejected(text):
    with pytest.raises(ValueError, match=f"must be 0 or 1, but is '{text}'"):
        parse_flag(text)
