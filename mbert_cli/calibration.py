"""The values that are fitted on dev after training: a temperature for probabilities, and a cut between two classes."""

import math
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Criterion = Literal["f1", "accuracy", "balanced"]
"""The score that a cut maximises: the F1 that the task reports (of the positive class for pairs, macro F1 otherwise),
the accuracy, or the balanced accuracy, which is the mean of the recall of both classes."""
CRITERIA: tuple[str, ...] = get_args(Criterion)

HOTTEST = 50.0
"""The highest temperature of the search; the lowest is its inverse."""
_MOST_CELLS = 1 << 22  # logits in memory as float64
_EQUAL = 1e-12  # smaller differences between values of a criterion are rounding errors


class Decision(BaseModel):
    """Parameters with which a head computes probabilities and a class from logits z.

    Probabilities are softmax(z / temperature). If there are two classes, the second is predicted if its log-odds
    z_1 - z_0 exceed `cut`. Otherwise the most probable class is predicted. The cut applies to log-odds before the
    temperature. So the temperature never changes a prediction, and scores with a probability that rounds to 1 still
    differ.

    Args:
        temperature: temperature of the softmax; above 1, probabilities are less confident than after training.
        cut: cut on the log-odds; 0 is a probability of 0.5 for every temperature.
        criterion: the score for which the cut was fitted; None if it was not fitted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    cut: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    criterion: Criterion | None = None

    @property
    def threshold(self) -> float:
        """The probability above which the second of two classes is predicted: sigmoid(cut / temperature)."""
        scaled = self.cut / self.temperature
        return 1 / (1 + math.exp(-scaled)) if scaled > -700 else 0.0


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


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Return the mean of -log softmax(z / T)_y over the examples.

    Args:
        logits: z, ``[examples, classes]``.
        labels: y, class indices.
        temperature: T.
    """
    log_likelihoods = np.empty(len(labels))
    block = max(1, _MOST_CELLS // logits.shape[1])
    for start in range(0, len(labels), block):
        rows = slice(start, start + block)
        scaled = logits[rows].astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        log_likelihoods[rows] = scaled[np.arange(len(scaled)), labels[rows]] - np.log(np.exp(scaled).sum(axis=1))
    return float(-log_likelihoods.mean())


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the temperature with the highest likelihood of the labels, or None if it is outside the bounds.

    It is outside if all predictions are correct, because T = 0 is then best; or if the logits contain no information
    about the labels, because an infinite T is then best.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        logits: logits, ``[examples, classes]``.
        labels: true class indices.
    """
    from scipy.optimize import minimize_scalar

    bound = math.log(HOTTEST)

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits, labels, math.exp(log_temperature))

    # The loss is convex in 1 / T, so it has one minimum in log T.
    minimum: Any = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6})
    at_a_bound = min(loss(-bound), loss(bound)) <= minimum.fun + 1e-9
    return None if at_a_bound else math.exp(minimum.x)
