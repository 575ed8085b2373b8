"""The search for the decision threshold of a task with two classes."""

import numpy as np

_EQUAL = 1e-12  # smaller differences between values of a criterion are rounding errors


def best_cut(log_odds: np.ndarray, labels: np.ndarray, criterion: str, macro: bool) -> float:
    """Return the cut with the highest value of a criterion. The result is exact: all different cuts are tried.

    All cuts between two neighbouring scores give the same predictions, so only their midpoint is tried, and 0, which is
    a probability of 0.5. Among equally good cuts the result is the one nearest to 0, so that a cut changes only if that
    improves the criterion.

    Args:
        log_odds: log-odds of the second class, one per example.
        labels: true classes, 0 or 1; both occur.
        criterion: one of `CRITERIA`.
        macro: whether `f1` is the mean F1 of both classes; otherwise it is the F1 of the second class.
    """
    scores = np.sort(log_odds.astype(np.float64))
    distinct = np.unique(scores)
    middles = distinct[:-1] + np.diff(distinct) / 2
    cuts = np.concatenate([[0.0, distinct[0] - 1, distinct[-1] + 1], middles])
    positives = np.sort(log_odds.astype(np.float64)[labels == 1])
    all_positive, all_rows = len(positives), len(scores)
    predicted = all_rows - np.searchsorted(scores, cuts, side="right")
    hits = all_positive - np.searchsorted(positives, cuts, side="right")
    rejected = all_rows - all_positive - (predicted - hits)  # correctly
    if criterion == "accuracy":
        values = (hits + rejected) / all_rows
    elif criterion == "balanced":
        values = (hits / all_positive + rejected / (all_rows - all_positive)) / 2
    else:
        values = 2 * hits / (predicted + all_positive)
        if macro:
            values = (values + 2 * rejected / (2 * all_rows - predicted - all_positive)) / 2
    best = cuts[values >= values.max() - _EQUAL]
    return float(min(best, key=lambda cut: (abs(cut), cut)))
