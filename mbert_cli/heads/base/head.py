"""The interface of all heads."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Side
from mbert_cli.calibration import Decision, LabelDecision
from mbert_cli.data.labels import Labels
from mbert_cli.errors import CheckpointError
from mbert_cli.metrics import Goal, Metrics

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
