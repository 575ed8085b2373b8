"""Heads whose labels are numbers."""

from abc import abstractmethod
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mbert_cli.data.labels import NumberLabels, ScaleLabels
from mbert_cli.errors import OptionError
from mbert_cli.heads.base.head import Head
from mbert_cli.metrics import Metrics, metrics_of, regression_metrics

_MAX = 5.0  # the largest label of a scale by default, as in the STS benchmark
Limit = Annotated[float, Field(allow_inf_nan=False)]
"""The smallest or the largest label of a scale."""


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
