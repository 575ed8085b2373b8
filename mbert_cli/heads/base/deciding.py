"""Heads whose predictions depend on a fitted temperature and on fitted thresholds."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from mbert_cli.calibration import Criterion, Decision, LabelDecision
from mbert_cli.heads.base.head import Head


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
