"""Heads whose labels are classes."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.calibration import Criterion, Decision
from mbert_cli.data.labels import BinaryLabels, ClassLabels, ClassNames
from mbert_cli.heads.base.deciding import DecidingHead
from mbert_cli.heads.base.head import Columns
from mbert_cli.metrics import Metrics, classification_metrics, expected_calibration_error, metrics_of

_MOST_ROWS = 1 << 16
_MOST_CELLS = 1 << 22


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


def as_classes(values: Tensor) -> np.ndarray:
    """Return class indices as a NumPy array of integers."""
    return values.to(torch.int64).cpu().numpy()
