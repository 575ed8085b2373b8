import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from mbert_cli.calibration import CRITERIA
from mbert_cli.evaluation.threshold_search import best_cut

# A few values, so that scores are often equal, and some arbitrary ones.
SCORES = st.one_of(st.integers(-4, 4).map(float), st.floats(-50, 50, width=32))
LABELLED = (
    st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=30)
    .filter(lambda rows: len({label for _, label in rows}) == 2)
    .map(lambda rows: (np.array([s for s, _ in rows], dtype=np.float32), np.array([int(y) for _, y in rows])))
)


def value(criterion, macro, labels, predicted):
    if criterion == "accuracy":
        return accuracy_score(labels, predicted)
    if criterion == "balanced":
        return balanced_accuracy_score(labels, predicted)
    return f1_score(labels, predicted, average="macro" if macro else "binary", zero_division=0)


@pytest.mark.parametrize("macro", [False, True])
@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=60)
@given(rows=LABELLED)
def test_no_other_cut_has_a_better_score(criterion, macro, rows):
    scores, labels = rows[0].astype(np.float64), rows[1]
    found = value(criterion, macro, labels, scores > best_cut(scores, labels, criterion, macro))
    # All ways to divide the rows by their scores.
    every = [value(criterion, macro, labels, scores > cut) for cut in (-1e9, *scores)]
    assert found == pytest.approx(max(every), abs=1e-12)


@settings(max_examples=60)
@given(rows=LABELLED)
def test_a_cut_at_one_half_moves_only_if_the_score_improves(rows):
    scores, labels = rows[0].astype(np.float64), rows[1]
    cut = best_cut(scores, labels, "accuracy", macro=False)
    gained = value("accuracy", False, labels, scores > cut) - value("accuracy", False, labels, scores > 0)
    assert (cut != 0) == (gained > 1e-12)


def test_the_cut_is_midway_between_two_scores():
    scores, labels = np.array([-3.0, 1.0, 2.0, 4.0], dtype=np.float32), np.array([0, 0, 1, 1])
    for criterion in CRITERIA:
        assert best_cut(scores, labels, criterion, macro=False) == 1.5


def test_of_equally_good_cuts_the_nearest_to_one_half_is_chosen():
    # Accuracy 3/4 with all positive, or with a cut at 1.5 or at 5.5; F1 prefers the first: 6/7.
    scores, labels = np.array([1.0, 2.0, 5.0, 6.0], dtype=np.float32), np.array([1, 0, 1, 1])
    assert best_cut(scores, labels, "accuracy", macro=False) == 0
    assert best_cut(-scores[::-1].copy(), 1 - labels[::-1], "accuracy", macro=False) == 0
    assert best_cut(scores + 3, labels, "f1", macro=False) == 0
    assert best_cut(scores - 4, labels, "f1", macro=False) == pytest.approx(-4)  # 1 below the lowest score


def test_criteria_differ_if_classes_are_uneven():
    # Eight negatives, two positives; the scores 1 to 10, the positives at 7 and 10.
    scores = np.arange(1, 11, dtype=np.float32)
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 0, 0, 1])
    assert best_cut(scores, labels, "accuracy", macro=False) == 9.5  # 9 of 10 are right
    assert best_cut(scores, labels, "balanced", macro=False) == 6.5  # (1 + 6/8) / 2 beats (1/2 + 1) / 2
    # At 9.5 recall is 1/2 and precision 1: F1 2/3. At 6.5 recall is 1 and precision 2/4: also 2/3, and nearer to 0.
    assert best_cut(scores, labels, "f1", macro=False) == 6.5
