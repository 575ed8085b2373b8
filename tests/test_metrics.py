import numpy as np
import pytest

from mbert_cli.metrics import (
    classification_metrics,
    describe_overall,
    expected_calibration_error,
    overall,
    percent,
    regression_metrics,
    task_score,
)


@pytest.mark.parametrize(
    ("sst", "paraphrase", "sts", "printed"),
    [
        pytest.param(0.537, 0.647, 0.636, 0.667, id="table 2, CLS"),
        pytest.param(0.505, 0.731, 0.805, 0.713, id="table 2, mean"),
        pytest.param(0.512, 0.720, 0.783, 0.708, id="table 3, squared"),
        pytest.param(0.523, 0.712, 0.797, 0.711, id="table 3, DWA, printed as .707"),
        pytest.param(0.506, 0.856, 0.830, 0.759, id="test"),
    ],
)
def test_overall_reproduces_the_papers_numbers(sst, paraphrase, sts, printed):
    scores = {"sst": ("accuracy", sst), "quora": ("accuracy", paraphrase), "sts": ("pearson", sts)}
    assert round(overall(scores), 3) == printed


@pytest.mark.parametrize(
    ("name", "value", "score"),
    [("pearson", -1.0, 0.0), ("pearson", 0.0, 0.5), ("spearman", 1.0, 1.0), ("accuracy", 0.3, 0.3), ("f1", 0.4, 0.4)],
)
def test_only_correlations_are_mapped(name, value, score):
    assert task_score(name, value) == score


@pytest.mark.parametrize(
    ("main", "text"),
    [
        ({"mood": "accuracy"}, "overall is mood accuracy"),
        ({"near": "pearson"}, "overall is (near pearson + 1) / 2"),
        (
            {"mood": "accuracy", "same": "accuracy", "near": "pearson"},
            "overall is the mean of mood accuracy, same accuracy and (near pearson + 1) / 2",
        ),
        (
            {f"task{i}": "accuracy" for i in range(9)},
            "overall is the mean of the tasks' main scores; a correlation r counts as (r + 1) / 2",
        ),
    ],
)
def test_the_overall_score_is_described_by_its_formula(main, text):
    assert describe_overall(main) == text


def test_macro_metrics_are_means_over_the_classes():
    labels, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    found = classification_metrics(predicted, labels, ["a", "b", "c"], positive=None)
    # Precision 1/2, 2/3, 1; recall 1/2, 1, 1/2; F1 1/2, 4/5, 2/3.
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["precision"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["f1"] == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)
    assert found["confusion"] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert found["labels"] == ["a", "b", "c"]


def test_binary_metrics_are_those_of_the_positive_class():
    labels, predicted = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0, 1])
    found = classification_metrics(predicted, labels, ["0", "1"], positive=1)
    # Two true positives, two false positives, one false negative, three true negatives.
    assert found["accuracy"] == 5 / 8
    assert found["precision"] == 2 / 4
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["confusion"] == [[3, 2], [1, 2]]


def test_a_class_that_never_occurs_counts_as_zero_and_keeps_its_row():
    found = classification_metrics(np.array([0, 1]), np.array([0, 1]), ["a", "b", "c"], positive=None)
    assert found["accuracy"] == 1
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_every_class_has_its_own_scores_and_its_number_of_rows():
    labels, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    found = classification_metrics(predicted, labels, ["a", "b", "c"], positive=None)
    assert found["per_class"] == {
        "a": {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2},
        "b": {"precision": pytest.approx(2 / 3), "recall": 1, "f1": pytest.approx(4 / 5), "support": 2},
        "c": {"precision": 1, "recall": 1 / 2, "f1": pytest.approx(2 / 3), "support": 2},
    }
    assert found["macro"] == {name: found[name] for name in ("precision", "recall", "f1")}


def test_macro_scores_of_pairs_are_over_both_classes_and_the_others_are_of_the_positive_class():
    labels, predicted = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0, 1])
    found = classification_metrics(predicted, labels, ["0", "1"], positive=1)
    # Class 0: precision 3/4, recall 3/5, F1 2/3; class 1: 1/2, 2/3, 4/7.
    assert found["per_class"]["0"]["f1"] == pytest.approx(2 / 3)
    assert found["macro"]["precision"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["macro"]["recall"] == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert found["macro"]["f1"] == pytest.approx((2 / 3 + 4 / 7) / 2)
    assert {name: found[name] for name in found["macro"]} == {
        name: found["per_class"]["1"][name] for name in found["macro"]
    }


def test_rows_of_the_confusion_matrix_are_true_labels_and_shares_are_of_a_row():
    # Four rows of a, of which one is predicted as b and one as c; one row of b, predicted as a; no row of c.
    labels, predicted = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, 2, 0])
    found = classification_metrics(predicted, labels, ["a", "b", "c"], positive=None)
    assert found["confusion"] == [[2, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert found["confusion_shares"] == [[1 / 2, 1 / 4, 1 / 4], [1, 0, 0], [0, 0, 0]]


def test_scores_by_class_equal_those_of_scikit_learn():
    from sklearn.metrics import classification_report

    rng = np.random.default_rng(3)
    labels, predicted = rng.integers(0, 7, 200), rng.integers(0, 7, 200)
    names = [f"label {i}" for i in range(8)]
    found = classification_metrics(predicted, labels, names, positive=None)
    wanted = classification_report(
        labels, predicted, labels=range(8), target_names=names, output_dict=True, zero_division=0
    )
    for name in names:
        theirs = {key.replace("f1-score", "f1"): value for key, value in wanted[name].items()}
        assert found["per_class"][name] == pytest.approx(theirs)
    assert found["macro"]["f1"] == pytest.approx(wanted["macro avg"]["f1-score"])


def test_one_row_is_measured_without_a_warning():
    found = classification_metrics(np.array([1]), np.array([1]), ["a", "b"], positive=None)
    assert found["accuracy"] == 1
    assert found["confusion"] == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.001, "<1%"), (0.005, "<1%"), (0.25, "25%"), (0.996, ">99%"), (1, "100%")]
)
def test_only_0_is_printed_as_0_percent_and_only_1_as_100_percent(share, text):
    assert percent(float(share)) == text


def test_predicting_one_class_always_is_measured_without_a_warning():
    found = classification_metrics(np.array([0, 0, 0, 0]), np.array([0, 1, 1, 0]), ["0", "1"], positive=1)
    assert (found["accuracy"], found["precision"], found["recall"], found["f1"]) == (0.5, 0, 0, 0)
    assert found["confusion"] == [[2, 0], [2, 0]]


def test_regression_metrics_equal_hand_arithmetic():
    # Deviations from the means 2 and 3: (-1, -1, 0, 2) and (-2, 0, -1, 3), sums of squares 6 and 14.
    found = regression_metrics(np.array([1.0, 1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0, 6.0]))
    assert found["pearson"] == pytest.approx(8 / (6 * 14) ** 0.5)
    # Ranks (1.5, 1.5, 3, 4) and (1, 3, 2, 4): deviations (-1, -1, .5, 1.5) and (-1.5, .5, -.5, 1.5).
    assert found["spearman"] == pytest.approx(3 / (4.5 * 5) ** 0.5)
    assert found["mse"] == pytest.approx((0 + 4 + 0 + 4) / 4)
    assert found["mae"] == pytest.approx((0 + 2 + 0 + 2) / 4)
    assert found["r2"] == pytest.approx(1 - 8 / 14)


@pytest.mark.parametrize(
    ("predicted", "labels"),
    [([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]), ([1.0], [3.0])],
)
def test_a_correlation_with_a_constant_is_zero(predicted, labels):
    found = regression_metrics(np.array(predicted), np.array(labels))
    assert (found["pearson"], found["spearman"]) == (0, 0)


def test_errors_of_constant_predictions_are_still_measured():
    found = regression_metrics(np.array([2.0, 2.0, 2.0]), np.array([1.0, 2.0, 4.0]))
    assert found["mse"] == pytest.approx(5 / 3)
    assert found["mae"] == pytest.approx(1)


def test_almost_constant_predictions_are_measured_without_a_warning():
    # float32 predictions that differ only in the last bit.
    values = np.array([2.5, 2.5, np.nextafter(np.float32(2.5), np.float32(3))], dtype=np.float32).astype(np.float64)
    found = regression_metrics(values, np.array([1.0, 2.0, 3.0]))
    assert -1 <= found["pearson"] <= 1


def test_the_calibration_error_equals_hand_arithmetic():
    # Bins of 1/15: .5 and .52 are in one (.467 to .533), one of them is right; .9 and .92 are in another (.867 to
    # .933), both are right; .95 is in the last, and wrong.
    confidences = np.array([0.5, 0.52, 0.9, 0.92, 0.95])
    right = np.array([True, False, True, True, False])
    expected = 2 / 5 * abs(0.5 - 0.51) + 2 / 5 * abs(1 - 0.91) + 1 / 5 * abs(0 - 0.95)
    assert expected_calibration_error(confidences, right) == pytest.approx(expected)


@pytest.mark.parametrize(("right", "error"), [([True] * 3, 0), ([False] * 3, 1), ([True, True, False], 1 / 3)])
def test_the_calibration_error_of_certain_predictions_is_their_share_of_errors(right, error):
    assert expected_calibration_error(np.ones(3), np.array(right)) == pytest.approx(error)


def test_predictions_that_are_right_as_often_as_their_probability_have_no_calibration_error():
    assert expected_calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == pytest.approx(0)


def test_an_edge_belongs_to_the_bin_below_it():
    # 1/3 is the upper edge of the fifth bin, .34 is in the sixth. Their gaps are opposite and would cancel in one bin.
    confidences = np.array([1 / 3, 0.34])
    assert expected_calibration_error(confidences, np.array([True, False])) == pytest.approx((2 / 3 + 0.34) / 2)
