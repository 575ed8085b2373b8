"""What is fitted on dev after training: a temperature for probabilities, and the cut between two classes."""

import math
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Criterion = Literal["f1", "accuracy", "balanced"]
"""What a cut makes as high as can be: the F1 that the task reports (of the positive class for pairs, macro for a
classification), the accuracy, or the balanced accuracy: the mean of both classes' recall."""
CRITERIA: tuple[str, ...] = get_args(Criterion)

HOTTEST = 50.0
"""The highest temperature that is tried; the lowest is its inverse."""
_MOST_CELLS = 1 << 22  # logits copied at once
_EQUAL = 1e-12  # values of a criterion that differ by less are rounded versions of one


class Decision(BaseModel):
    """How a task's head turns logits z into probabilities and a class.

    Probabilities are softmax(z / temperature). Of two classes the second is predicted where its log-odds z_1 - z_0
    exceed `cut`; of more, the likeliest. The cut is one of log-odds before the temperature: so a temperature fitted
    before or after it changes no prediction, and scores that round to a probability of 1 can be told apart.

    Args:
        temperature: above 1, probabilities are less certain than the head was trained to give them.
        cut: 0 is a probability of .5, whatever the temperature.
        criterion: what the cut was fitted for; None where it was not.
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
    """Return the cut at which a criterion is highest: exactly, by trying every one that there is.

    Between two neighbouring scores all cuts decide alike; their midpoint stands for them, and 0, which is a probability
    of .5, for those around it. Of cuts that are equally good the one nearest 0 is taken, so that nothing moves where
    nothing is gained.

    Args:
        log_odds: of the second class, one an example.
        labels: 0 or 1; both occur.
        criterion: one of `CRITERIA`.
        macro: whether `f1` is the mean of both classes' F1, or that of the second.
    """
    scores = np.sort(log_odds.astype(np.float64))
    distinct = np.unique(scores)
    middles = distinct[:-1] + np.diff(distinct) / 2
    cuts = np.concatenate([[0.0, distinct[0] - 1, distinct[-1] + 1], middles])
    positives = np.sort(log_odds.astype(np.float64)[labels == 1])
    all_positive, all_rows = len(positives), len(scores)
    predicted = all_rows - np.searchsorted(scores, cuts, side="right")
    hits = all_positive - np.searchsorted(positives, cuts, side="right")
    rejected = all_rows - all_positive - (predicted - hits)  # rightly
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
        logits: z, examples by classes.
        labels: y, class indices.
        temperature: T.
    """
    likely = np.empty(len(labels))
    block = max(1, _MOST_CELLS // logits.shape[1])
    for start in range(0, len(labels), block):
        rows = slice(start, start + block)
        scaled = logits[rows].astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        likely[rows] = scaled[np.arange(len(scaled)), labels[rows]] - np.log(np.exp(scaled).sum(axis=1))
    return float(-likely.mean())


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the temperature under which the labels are likeliest; None where there is none within bounds.

    So it is where every label is the likeliest class already, which would have T go to 0 and every probability to 1,
    and where the logits tell nothing of the labels.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        logits: examples by classes.
        labels: class indices.
    """
    from scipy.optimize import minimize_scalar

    bound = math.log(HOTTEST)

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits, labels, math.exp(log_temperature))

    # Convex in 1 / T, hence with one minimum in log T.
    found: Any = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6})
    at_a_bound = min(loss(-bound), loss(bound)) <= found.fun + 1e-9
    return None if at_a_bound else math.exp(found.x)
