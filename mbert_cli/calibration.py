"""The values that are fitted on dev after training: the temperature and the decision threshold (`cut`)."""

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


class Decision(BaseModel):
    """How a head computes probabilities and the predicted class from logits z.

    Probabilities are softmax(z / temperature). With two classes, the second is predicted if its log-odds z_1 - z_0
    exceed `cut`. With more classes, the most probable one is predicted. The log-odds that `cut` is compared with are
    not divided by the temperature, so the temperature never changes a prediction. Log-odds also differ where both
    probabilities round to 1.

    Args:
        temperature: temperature of the softmax; above 1, probabilities are less confident than after training.
        cut: decision threshold on the log-odds; 0 is a probability of 0.5 at every temperature.
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


class LabelDecision(BaseModel):
    """How a head with several labels a row computes probabilities and the predicted set from logits z.

    The probability of label k is sigmoid(z_k / temperature). The set has label k if z_k exceeds its cut.

    Args:
        temperature: temperature of the sigmoids; see `Decision`.
        cuts: the cut of each label, by its name; a label that is missing has the cut 0, a probability of 0.5.
        criterion: the score for which the cuts were fitted; None if they were not fitted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    cuts: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    criterion: Criterion | None = None

    def threshold(self, label: str) -> float:
        """Return the probability above which a label is predicted."""
        return Decision(temperature=self.temperature, cut=self.cuts.get(label, 0.0)).threshold


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
