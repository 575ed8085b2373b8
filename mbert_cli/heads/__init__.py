"""Heads: one file a kind of task, its name the `kind` in a recipe; here is the contract."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Side
from mbert_cli.errors import OptionError
from mbert_cli.metrics import Goal, Metrics
from mbert_cli.recipe_file import shown

Columns = dict[str, list[str] | list[float]]
"""What is predicted: `pred` and its scores, one value a row."""


class Head(nn.Module, ABC):
    """Turns sentence vectors into a task's outputs, and knows all about the task's labels."""

    goal: ClassVar[Goal] = "classification"
    """What the labels are; loss balancing may weigh the two differently."""
    sides: ClassVar[tuple[Side, ...]] = ("whole",)
    """What the encoder reads of an example; `forward` takes a sentence vector of each."""
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


def as_number(text: str) -> float:
    """Return a label as a number; NaN where it is none. Digits of other scripts, and `1_0`, which Python reads, are."""
    plain = text.strip()
    with suppress(ValueError):
        if plain.isascii() and "_" not in plain:
            return float(plain)
    return math.nan


def parse_class(text: str, labels: Sequence[str]) -> float:
    """Return the index of a label among its names; a numeric name may also be written `1.0`.

    Raises:
        ValueError: it is none of them.
    """
    name = text.strip()
    if name not in labels:
        name = str(int(number)) if (number := as_number(name)).is_integer() else name
    if name not in labels:
        known = ", ".join(labels) if len(labels) <= 12 else f"{labels[0]} to {labels[-1]}"
        raise ValueError(f"must be one of {known}, but is {shown(text)}")
    return float(labels.index(name))


def check_labels(labels: Sequence[str], at_least: int = 2) -> None:
    """Check that label names are distinct and usable as column names.

    Raises:
        OptionError: they are not.
    """
    if len(labels) < at_least:
        raise OptionError("labels", f"must name at least {at_least} classes, but names {len(labels)}")
    doubled = next((label for label, count in Counter(labels).items() if count > 1), None)
    if doubled is not None:
        raise OptionError("labels", f"must differ from each other, but name '{doubled}' twice")
    odd = next((label for label in labels if label != label.strip() or not label or not label.isprintable()), None)
    if odd is not None:
        raise OptionError("labels", f"must be printable and without blanks around them, but one is {shown(odd)}")


def probability_columns(probabilities: Float[Tensor, "examples classes"], labels: Sequence[str]) -> Columns:
    """Return `pred`, the likeliest label's name, and `p_<label>` for every label."""
    values = probabilities.double().cpu().numpy()
    columns: Columns = {"pred": [labels[index] for index in values.argmax(axis=1)]}
    for index, label in enumerate(labels):
        columns[f"p_{label}"] = values[:, index].tolist()
    return columns


def as_classes(values: Tensor) -> np.ndarray:
    """Return class indices as a NumPy array of integers."""
    return values.to(torch.int64).cpu().numpy()
