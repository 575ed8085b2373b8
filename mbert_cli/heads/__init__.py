"""Heads: how sentence vectors become the predictions, losses and metrics of a task.

To add a head, add one file here. For `{kind: pair_classification}`, the file is `pair_classification.py` and the class
is `PairClassification`: the kind without underscores, in any capitals. The base classes are `Head`, `DecidingHead`,
`ClassHead`, `BinaryHead`, `ValueHead` and `ScaleHead` in this file. The constructor takes the hidden size; its
keyword-only parameters are the options in a recipe. `tests/heads/test_labels_from.py` tests every file here;
`tests/components.py` has the options for tests. The users' list is in `guide/heads.md`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mbert_cli.batch import Side
from mbert_cli.calibration import Criterion, Decision, LabelDecision
from mbert_cli.data.labels import BinaryLabels, ClassLabels, ClassNames, Labels, NumberLabels, ScaleLabels
from mbert_cli.errors import CheckpointError, OptionError
from mbert_cli.metrics import (
    Goal,
    Metrics,
    classification_metrics,
    expected_calibration_error,
    metrics_of,
    regression_metrics,
)

_MOST_ROWS = 1 << 16
_MOST_CELLS = 1 << 22
_MAX = 5.0  # the largest label of a scale by default, as in the STS benchmark

Columns = dict[str, list[str] | list[float]]
"""Predictions: the column `pred` and its scores, one value for each row."""


class Head(nn.Module, ABC):
    """Turns sentence vectors into a task's outputs, losses, predictions and metrics.

    A concrete class has a static method `labels_from`, which makes the task's `Labels`. Its parameters are options of
    the constructor, with the same names and without defaults. Data are read with these labels before a head is built.

    Args:
        labels: the task's labels, which `labels_from` returned.
    """

    labels_from: ClassVar[Callable[..., Labels]]
    goal: ClassVar[Goal] = "classification"
    """Whether labels are classes or numbers; a loss balancing may weight the two differently."""
    sides: ClassVar[tuple[Side, ...]] = ("whole",)
    """What the encoder reads of an example; `forward` takes one sentence vector for each."""
    late_interaction: bool = False
    """Whether the last argument of `forward` is MaxSim of the first and the second text; see `late_interaction`."""
    main_metric: ClassVar[str] = "accuracy"
    """The metric of the task that is part of `overall`."""
    metric_names: ClassVar[tuple[str, ...]] = ()
    """The metrics, `loss` included, by which the best model may be selected."""
    decision: Decision | LabelDecision | None = None
    """What `mbert evaluate` fits on dev; None if the head has nothing to fit."""

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        self.labels = labels

    def training_loss(self, outputs: Tensor, labels: Float[Tensor, "examples ..."]) -> Float[Tensor, ""]:
        """Return the mean loss of a batch that training minimises; by default `loss`.

        Only options such as `label_smoothing` make a difference. Evaluation reports `loss`.
        """
        return self.loss(outputs, labels)

    def soft_loss(self, outputs: Tensor, soft: Float[Tensor, "examples columns"]) -> Float[Tensor, ""]:
        """Return the mean loss of a batch against soft labels, which `Labels.parse_soft` returned.

        The default passes the soft labels to `loss`. It is only for heads whose `loss` accepts any number as a label.
        """
        return self.loss(outputs, soft[:, 0])

    def label_weight(self, labels: Float[Tensor, "examples ..."]) -> float | Tensor:
        """Return the total weight of a batch's examples in `loss`, which is a weighted mean."""
        return float(len(labels))

    def soft_weight(self, soft: Float[Tensor, "examples columns"]) -> float | Tensor:
        """Return the total weight of a batch's examples in `soft_loss`."""
        return float(len(soft))

    def observe(self, labels: Float[Tensor, " examples"]) -> None:
        """Receive the labels of the training set, once, before the first step. Most heads ignore them."""

    def calibrated(self, outputs: Tensor) -> Tensor:
        """Return the outputs of `forward` with calibration, for evaluation and prediction. Training does not use it."""
        return outputs

    def values(self, outputs: Tensor) -> Float[Tensor, " examples"]:
        """Return the predicted numbers of a regression. Only `mbert export` needs this method.

        Raises:
            CheckpointError: the head does not implement this method.
        """
        raise CheckpointError(f"the head {type(self).__name__} does not implement values(); it cannot be exported.")

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Float[Tensor, ""]:
        """Return the mean loss of a batch.

        Args:
            outputs: result of `forward` for the batch.
            labels: labels of the batch as numbers, which `Labels.parse` returned.
        """

    @abstractmethod
    def predict(self, outputs: Tensor) -> Columns:
        """Return the columns that `mbert predict` appends: `Labels.columns`."""

    @abstractmethod
    def metrics(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Metrics:
        """Return the task's metrics over a whole split."""

    def label_texts(self, labels: Tensor) -> list[str] | list[float]:
        """Return true labels in the form of predictions; by default as numbers."""
        return [float(label) for label in labels.tolist()]


class DecidingHead(Head):
    """A head whose predictions depend on a temperature and on thresholds, which `mbert evaluate` fits on dev."""

    decision: Decision | LabelDecision
    threshold_metrics: ClassVar[tuple[str, ...]] = ("precision", "recall", "f1", "accuracy")
    """The metrics that are shown before and after a fit of thresholds."""

    @property
    @abstractmethod
    def has_thresholds(self) -> bool:
        """Whether thresholds decide: for two classes, or for each of several labels a row."""

    @property
    def averages_f1(self) -> bool:
        """Whether the F1 of a threshold is the mean F1 of both classes; otherwise it is that of the second class."""
        return False

    @abstractmethod
    def likelihood_data(self, outputs: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return logits, ``[examples, classes]``, and true classes, whose likelihood the best temperature maximises."""

    @abstractmethod
    def threshold_data(self, outputs: Tensor, labels: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return the log-odds and the truth, 0 or 1, for each label whose threshold can be fitted."""

    @abstractmethod
    def with_cuts(self, cuts: Mapping[str, float], criterion: Criterion) -> Decision | LabelDecision:
        """Return the decision with other cuts, given for the labels of `threshold_data`."""

    @abstractmethod
    def common_label(self, labels: Tensor) -> str | None:
        """Return in words which label all rows have; None if rows differ."""


class ClassHead(DecidingHead):
    """A head whose labels are classes.

    Args:
        labels: the task's classes.
    """

    labels: ClassLabels
    decision: Decision
    main_metric = "accuracy"
    metric_names = metrics_of("classification")
    positive: ClassVar[int | None] = None
    """The class whose precision, recall and F1 are reported; None for the macro average over all classes."""

    def __init__(self, labels: ClassLabels) -> None:
        super().__init__(labels)
        self.decision = Decision()

    @abstractmethod
    def logits(self, outputs: Tensor) -> Float[Tensor, "examples classes"]:
        """Return a logit for each class; their softmax is the probability of each class."""

    def probabilities(self, outputs: Tensor) -> Float[Tensor, "examples classes"]:
        """Return the calibrated probability of each class."""
        return self.logits(self.calibrated(outputs)).softmax(-1)

    def log_odds(self, outputs: Tensor) -> Float[Tensor, " examples"]:
        """Return the second class's logit minus the first one's; only for two classes."""
        logits = self.logits(outputs)
        return logits[:, 1] - logits[:, 0]

    def calibrated(self, outputs: Tensor) -> Tensor:
        """Return the outputs divided by the temperature, which is 1 until it is fitted."""
        return outputs / self.decision.temperature

    def classes(self, outputs: Tensor) -> np.ndarray:
        """Return the predicted class for each of the outputs of `forward`; see `Decision`."""
        if len(self.labels) == 2:
            return as_classes(self.log_odds(outputs).double() > self.decision.cut)
        return as_classes(self.logits(outputs).argmax(-1))

    def named(self, classes: np.ndarray) -> list[str]:
        """Return the names of classes."""
        return [self.labels.names[index] for index in classes]

    def label_texts(self, labels: Tensor) -> list[str]:
        """Return the names of the labels."""
        return self.named(as_classes(labels))

    @property
    def has_thresholds(self) -> bool:
        """Whether there are two classes."""
        return len(self.labels) == 2

    @property
    def averages_f1(self) -> bool:
        """Whether no class is the positive one."""
        return self.positive is None

    def likelihood_data(self, outputs: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits and the true classes."""
        return self.logits(outputs).cpu().numpy(), as_classes(labels)

    def threshold_data(self, outputs: Tensor, labels: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return the log-odds and the truth of the second class."""
        return {self.labels.names[1]: (self.log_odds(outputs).cpu().numpy(), as_classes(labels))}

    def with_cuts(self, cuts: Mapping[str, float], criterion: Criterion) -> Decision:
        """Return the decision with the cut of the second class."""
        (cut,) = cuts.values()
        return self.decision.model_copy(update={"cut": cut, "criterion": criterion})

    def common_label(self, labels: Tensor) -> str | None:
        """Return in words the class that all rows have; None if there are several."""
        classes = np.unique(as_classes(labels))
        return None if len(classes) > 1 else f"the label '{self.labels.names[classes[0]]}'"

    def predict_briefly(self, outputs: Tensor) -> Columns:
        """Return `pred`, and `probability` of the predicted class: two columns for any number of classes."""
        classes = self.classes(outputs)
        chosen = torch.from_numpy(classes).to(outputs.device)[:, None]
        probabilities = self.probabilities(outputs).gather(1, chosen)[:, 0]
        return {"pred": self.named(classes), "probability": probabilities.double().tolist()}

    def metrics(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Metrics:
        """Return accuracy, precision, recall, F1, the confusion matrix, the calibration error and the decision.

        The calibration error measures probabilities. It therefore uses the most likely class, which is not always the
        predicted one if the threshold is not .5.
        """
        metrics = classification_metrics(self.classes(outputs), as_classes(labels), self.labels.names, self.positive)
        # In parts, because there may be millions of examples or thousands of classes.
        rows = max(1, min(_MOST_ROWS, _MOST_CELLS // len(self.labels)))
        likeliest = [self.probabilities(part).max(-1) for part in outputs.split(rows)]
        confidences = torch.cat([part.values for part in likeliest]).double().cpu().numpy()
        right = as_classes(torch.cat([part.indices for part in likeliest])) == as_classes(labels)
        return {
            **metrics,
            "ece": expected_calibration_error(confidences, right),
            "decision": {**self.decision.model_dump(), "threshold": self.decision.threshold},
        }


class BinaryHead(ClassHead):
    """A head for two classes, the negative one and the positive one."""

    positive = 1

    @staticmethod
    def labels_from(labels: ClassNames) -> BinaryLabels:
        """Return the two classes."""
        return BinaryLabels(labels)

    def predict(self, outputs: Tensor) -> Columns:
        """Return `pred`, and `score`, the probability of the positive class."""
        scores = self.log_odds(self.calibrated(outputs)).sigmoid().double()
        return {"pred": self.named(self.classes(outputs)), "score": scores.tolist()}


class ValueHead(Head):
    """A head whose labels are numbers.

    Args:
        labels: the task's labels.
    """

    labels: NumberLabels
    goal = "regression"
    main_metric = "pearson"
    metric_names = metrics_of("regression")

    def __init__(self, labels: NumberLabels) -> None:
        super().__init__(labels)

    @abstractmethod
    def values(self, outputs: Tensor) -> Float[Tensor, " examples"]:
        """Return the predicted numbers."""

    def metrics(self, outputs: Tensor, labels: Float[Tensor, " examples"]) -> Metrics:
        """Return Pearson, Spearman, MSE, MAE and R^2."""
        values = self.values(outputs.double())
        return regression_metrics(values.cpu().numpy(), labels.double().cpu().numpy())


class ScaleHead(ValueHead):
    """A head whose labels are numbers from `min` to `max`.

    Args:
        labels: the scale.
    """

    labels: ScaleLabels

    def __init__(self, labels: ScaleLabels) -> None:
        super().__init__(labels)

    @staticmethod
    def labels_from(min: float, max: float | None, scale: float | None) -> ScaleLabels:
        """Return the scale: from `min` to `max`, which is 5 by default. `scale` is an older name of `max`."""
        if max is not None and scale not in (None, max):
            raise OptionError("scale", f"is {scale:g}, but max is {max:g}; both are the largest label; remove scale")
        option = "scale" if max is None and scale is not None else "max"
        return ScaleLabels(min, next(each for each in (max, scale, _MAX) if each is not None), option)

    def on_scale(self, shares: Tensor) -> Tensor:
        """Return values from `min` to `max` for shares of the scale from 0 to 1."""
        return self.labels.low + (self.labels.high - self.labels.low) * shares

    def shares(self, labels: Tensor) -> Tensor:
        """Return labels as shares of the scale, from 0 to 1."""
        return (labels - self.labels.low) / (self.labels.high - self.labels.low)


Limit = Annotated[float, Field(allow_inf_nan=False)]
"""The smallest or the largest label of a scale."""

PositiveNumber = Annotated[float, Field(gt=0)]
"""The type of a weight in the JSON Schema of recipes; `is_weight` checks the value."""


def is_weight(value: Any) -> bool:
    """Whether a value of a recipe is a positive finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def as_classes(values: Tensor) -> np.ndarray:
    """Return class indices as a NumPy array of integers."""
    return values.to(torch.int64).cpu().numpy()
