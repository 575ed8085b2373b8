"""Heads: one file a kind of task, its name the `kind` in a recipe; here is the contract, and what all classes share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.batch import Side
from mbert_cli.calibration import Decision
from mbert_cli.data.labels import ClassNames, Renaming, as_number, plain_number
from mbert_cli.errors import CheckpointError, OptionError
from mbert_cli.messages import shown
from mbert_cli.metrics import Goal, Metrics, classification_metrics, expected_calibration_error, regression_metrics

_MOST_ROWS = 1 << 16
_MOST_CELLS = 1 << 22
_ROUNDING = 1e-6  # of a probability in a file that we wrote

Columns = dict[str, list[str] | list[float]]
"""What is predicted: `pred` and its scores, one value a row."""


class Head(nn.Module, ABC):
    """Turns sentence vectors into a task's outputs, and knows all about the task's labels."""

    goal: ClassVar[Goal] = "classification"
    """What the labels are; loss balancing may weigh the two differently."""
    sides: ClassVar[tuple[Side, ...]] = ("whole",)
    """What the encoder reads of an example; `forward` takes a sentence vector of each."""
    late_interaction: bool = False
    """Whether `forward` also takes, at last, MaxSim of the first and the second text; see `late_interaction`."""
    main_metric: ClassVar[str] = "accuracy"
    """The metric that stands for the task in `overall`."""
    metric_names: ClassVar[tuple[str, ...]] = ()
    """The numbers among the metrics, `loss` included, by which the best model may be chosen."""

    @property
    def column_names(self) -> list[str]:
        """The names of the columns that `predict` returns."""
        return ["pred", "score"]

    @abstractmethod
    def parse_label(self, text: str) -> float:
        """Return a label as a number.

        Raises:
            ValueError: with a message that goes on after the column's name: "must be ..., but is ...".
        """

    @property
    def soft_columns(self) -> list[str]:
        """The columns that `predict` returns which may stand for a label; see `soft_labels`."""
        return ["pred"]

    def parse_soft(self, texts: Sequence[str]) -> list[float]:
        """Return a soft label as numbers, one for each of `soft_columns`.

        Raises:
            ValueError: with a message that begins with the column's name.
        """
        try:
            return [self.parse_label(texts[0])]
        except ValueError as error:
            raise ValueError(f"{self.soft_columns[0]} {error}") from None

    def soft_loss(self, outputs: Tensor, soft: Float[Tensor, "examples columns"]) -> Float[Tensor, ""]:
        """Return the mean loss of a batch against soft labels, as `parse_soft` gave them.

        A loss that takes any number as a label takes a soft one, too.
        """
        return self.loss(outputs, soft[:, 0])

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Be told the labels of the training set, once, before the first step; most heads need not know."""

    def calibrated(self, outputs: Tensor) -> Tensor:
        """Return outputs of `forward` as prediction and evaluation see them; training sees them as they are."""
        return outputs

    def values(self, outputs: Tensor) -> Float[Tensor, " examples"]:
        """Return the numbers that a regression predicts.

        A head that does not tell them can do all but `mbert export`.

        Raises:
            CheckpointError: it does not.
        """
        raise CheckpointError(
            f"the head {type(self).__name__} does not tell its values, so that it cannot be exported."
        )

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean loss of a batch.

        Args:
            outputs: what `forward` returned for the batch.
            labels: as `parse_label` gave them.
        """

    @abstractmethod
    def predict(self, outputs: Tensor) -> Columns:
        """Return the columns that `mbert predict` appends."""

    @abstractmethod
    def metrics(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Metrics:
        """Return the task's metrics over a whole split."""


class ClassHead(Head):
    """A head whose labels are classes.

    Args:
        labels: their names, in order; or what files hold, mapped to the names that predictions show.

    Raises:
        OptionError: there are not two, or they are not distinct.
    """

    main_metric = "accuracy"
    metric_names = ("accuracy", "precision", "recall", "f1", "ece", "loss")
    positive: ClassVar[int | None] = None
    """The class that precision, recall and F1 are of; None for their macro average over all classes."""

    def __init__(self, labels: list[str] | Renaming) -> None:
        super().__init__()
        self.class_names = ClassNames(labels)
        self.labels = self.class_names.shown
        self.decision = Decision()

    def parse_label(self, text: str) -> float:
        """Return the index of the class."""
        return float(self.class_names.index(text))

    @property
    def soft_columns(self) -> list[str]:
        """`p_<label>` of every class, or `score`, the probability of the second of two."""
        return self.column_names[1:]

    def parse_soft(self, texts: Sequence[str]) -> list[float]:
        """Return probabilities; those of all classes add up to 1, but for their rounding."""
        values = [as_number(text) for text in texts]
        for name, text, value in zip(self.soft_columns, texts, values, strict=True):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability, but is {shown(text)}")
        if len(values) > 1 and abs(sum(values) - 1) > 0.01 + _ROUNDING * len(values):
            raise ValueError(f"{self.soft_columns[0]} and the following must add up to 1, but come to {sum(values):g}")
        return values

    @abstractmethod
    def logits(self, outputs: Tensor) -> Float[Tensor, "examples classes"]:
        """Return a logit for every class, whose softmax is the class's probability."""

    def log_odds(self, outputs: Tensor) -> Float[Tensor, " examples"]:
        """Return how much the second class's logit exceeds the first one's; for two classes only."""
        logits = self.logits(outputs)
        return logits[:, 1] - logits[:, 0]

    def calibrated(self, outputs: Tensor) -> Tensor:
        """Return the outputs over the temperature, which is 1 until it is fitted."""
        return outputs / self.decision.temperature

    def classes(self, outputs: Tensor) -> np.ndarray:
        """Return the class that is predicted for each of the outputs of `forward`; see `Decision`."""
        if len(self.labels) == 2:
            return as_classes(self.log_odds(outputs).double() > self.decision.cut)
        return as_classes(self.logits(outputs).argmax(-1))

    def scored(self, outputs: Tensor) -> Columns:
        """Return `pred`, and `score`, the probability of the second class; for two classes only."""
        scores = self.log_odds(self.calibrated(outputs)).sigmoid().double()
        return {"pred": [self.labels[index] for index in self.classes(outputs)], "score": scores.tolist()}

    def predict_briefly(self, outputs: Tensor) -> Columns:
        """Return `pred`, and `probability`, that of the predicted class: two columns for any number of classes."""
        classes = self.classes(outputs)
        chosen = torch.from_numpy(classes).to(outputs.device)[:, None]
        probabilities = self.logits(self.calibrated(outputs)).softmax(-1).gather(1, chosen)[:, 0]
        return {"pred": [self.labels[index] for index in classes], "probability": probabilities.double().tolist()}

    def metrics(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Metrics:
        """Return accuracy, precision, recall, F1, the confusion matrix, the calibration error and the decision.

        The calibration error is one of the probabilities. So it is of the likeliest class, wherever the threshold lies.
        """
        found = classification_metrics(self.classes(outputs), as_classes(labels), self.labels, self.positive)
        # In parts, for there may be millions of examples or thousands of classes.
        rows = max(1, min(_MOST_ROWS, _MOST_CELLS // len(self.labels)))
        likeliest = [self.logits(self.calibrated(part)).softmax(-1).max(-1) for part in outputs.split(rows)]
        confidences = torch.cat([part.values for part in likeliest]).double().cpu().numpy()
        right = as_classes(torch.cat([part.indices for part in likeliest])) == as_classes(labels)
        return {
            **found,
            "ece": expected_calibration_error(confidences, right),
            "decision": {**self.decision.model_dump(), "threshold": self.decision.threshold},
        }


class ValueHead(Head):
    """A head whose labels are numbers on a scale; it tells its `values`.

    Args:
        scale: the largest label.
        min: the smallest label.

    Raises:
        OptionError: scale is not above min.
    """

    goal = "regression"
    main_metric = "pearson"
    metric_names = ("pearson", "spearman", "mse", "mae", "r2", "loss")

    def __init__(self, scale: float, min: float = 0.0) -> None:
        super().__init__()
        if min >= scale:
            raise OptionError("scale", f"must be above min, {min:g}, but is {scale:g}")
        self.scale = scale
        self.min = min

    def on_scale(self, shares: Tensor) -> Tensor:
        """Return shares of the scale, from 0 to 1, as values."""
        return self.min + (self.scale - self.min) * shares

    def shares(self, labels: Tensor) -> Tensor:
        """Return labels as shares of the scale."""
        return (labels - self.min) / (self.scale - self.min)

    def parse_label(self, text: str) -> float:
        """Return the value.

        Raises:
            ValueError: it is not a number from min to scale.
        """
        value = as_number(text)
        if not self.min <= value <= self.scale:
            plain = plain_number(text)
            remedy = f"; write {plain}" if plain else ""
            raise ValueError(f"must be a number from {self.min:g} to {self.scale:g}, but is {shown(text)}{remedy}")
        return value

    @abstractmethod
    def values(self, outputs: Tensor) -> Float[Tensor, " examples"]:
        """Return the numbers that are predicted."""

    def metrics(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Metrics:
        """Return Pearson, Spearman, MSE, MAE and R^2."""
        values = self.values(outputs.double())
        return regression_metrics(values.cpu().numpy(), labels.double().cpu().numpy())


def balanced_weights(labels: Float[Tensor, " examples"], num_classes: int) -> Float[Tensor, " classes"]:
    """Return weights that let every class weigh the same: N / (K n_k) for N examples of K classes, n_k of them of k.

    Their mean over the examples is 1. A class without examples is not counted in K, and weighs 1.
    """
    counts = torch.bincount(labels.long(), minlength=num_classes).double()
    weights = len(labels) / (counts.clamp(min=1) * (counts > 0).sum())
    return torch.where(counts > 0, weights, 1.0).float()


PositiveNumber = Annotated[float, Field(gt=0)]
"""As the JSON Schema of recipes has what `is_weight` checks."""


def is_weight(value: Any) -> bool:
    """Whether a value of a recipe is a positive finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def as_classes(values: Tensor) -> np.ndarray:
    """Return class indices as a NumPy array of integers."""
    return values.to(torch.int64).cpu().numpy()
