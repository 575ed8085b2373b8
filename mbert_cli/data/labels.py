"""The labels of a task: how a text of a file becomes a number, and the columns of its predictions.

A head makes its labels from the options of its recipe section; see `Head.labels_from`. Files are read and checked with
the labels alone, before a head is built.

Must not import torch: fast start-up.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator

from mbert_cli.data.label_text import as_number, folded, is_name, normal, plain_number
from mbert_cli.errors import OptionError
from mbert_cli.messages import shown

_MOST_LISTED = 12
_LARGEST = 1e30  # size of an unbounded label
_ROUNDING = 1e-6  # largest rounding error of a probability in a file that `mbert predict` wrote


def _class_names(value: Any) -> list[str] | dict[str, str] | None:
    names = list(value.values()) if isinstance(value, dict) else value
    if value is None or (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        checked: list[str] | dict[str, str] | None = value
        return checked
    raise ValueError("must be a list of texts, or a mapping of the file's labels to the names that predictions show")


Renaming = dict[str, str]
"""Each text of a file, mapped to the name that predictions show for it."""

ClassNames = Annotated[
    list[str] | Renaming | None,
    PlainValidator(_class_names, json_schema_input_type=list[str] | Renaming | None),
]
"""A head's option `labels`: the texts of the file in order, or a mapping of them to the names that predictions show."""


Label = float | tuple[float, ...]
"""The label of a row as a number; or for a set of labels, 1 for each label in the set and 0 for the others."""


class Labels(ABC):
    """The labels of one task.

    Args:
        columns: names of the columns that `mbert predict` appends for the task.
        soft_columns: those of them that can serve as a soft label; see `training.distillation`.
    """

    may_be_empty: ClassVar[bool] = False
    """Whether an empty cell is a label."""
    are_numbers: ClassVar[bool] = False
    """Whether labels are numbers, not classes or sets of labels."""

    def __init__(self, columns: Sequence[str], soft_columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self.soft_columns = list(soft_columns)

    @abstractmethod
    def parse(self, text: str) -> Label:
        """Return a label as a number, or as several numbers if a row has a set of labels.

        Raises:
            ValueError: the text is not a label; the message continues the column's name: "must be ..., but is ...".
        """

    @abstractmethod
    def parse_soft(self, texts: Sequence[str]) -> list[float]:
        """Return a soft label as numbers, one for each of `soft_columns`.

        Raises:
            ValueError: the texts are not a soft label; the message is a whole sentence that names the column.
        """


class NamedLabels(Labels):
    """Labels that have names.

    Args:
        labels: the texts of the file in order; or a mapping of them to the names that predictions show.

    Raises:
        OptionError: there are fewer than two, two are equal, or one cannot be the name of a column.
    """

    def __init__(self, labels: Sequence[str] | Mapping[str, str]) -> None:
        self.texts = list(labels)
        self.names = list(labels.values()) if isinstance(labels, Mapping) else self.texts
        for names in (self.texts, self.names):
            _check(names)
        self._index = {normal(text): index for index, text in enumerate(self.texts)}
        for index, text in enumerate(self.texts):
            self._index.setdefault(folded(text), index)
        self._alike = {_simplified(text): text for text in reversed(self.texts)}
        probabilities = self.probability_columns
        super().__init__(["pred", *probabilities], probabilities)

    @property
    def probability_columns(self) -> list[str]:
        """`p_<name>` of each class."""
        return [f"p_{name}" for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def index(self, text: str) -> int | None:
        """Return the index of the label that a text names; None if there is none. `1.0` also names `1`."""
        index = self._index.get(normal(text))
        return self._index.get(folded(text)) if index is None else index

    def known(self) -> str:
        """Return the labels, for messages; with many labels, the first and the last one."""
        return ", ".join(self.texts) if len(self) <= _MOST_LISTED else f"{self.texts[0]} to {self.texts[-1]}"

    def hint(self, text: str) -> str:
        """Return a hint for an unknown label, if it looks like a known one; otherwise an empty text."""
        alike = self._alike.get(_simplified(text))
        return "" if alike is None else f" (did you mean '{alike}'?)"

    def parse_soft(self, texts: Sequence[str]) -> list[float]:
        """Return the probability of each label."""
        values = [as_number(text) for text in texts]
        for name, text, value in zip(self.soft_columns, texts, values, strict=True):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability, but is {shown(text)}")
        return values


class ClassLabels(NamedLabels):
    """Labels that are classes; each becomes its index. For arguments and errors see `NamedLabels`."""

    def parse(self, text: str) -> float:
        """Return the index of the class that a text names; a whole number may also be written `1.0`."""
        index = self.index(text)
        if index is None:
            raise ValueError(f"must be one of {self.known()}, but is {shown(text)}{self.hint(text)}")
        return float(index)

    def parse_soft(self, texts: Sequence[str]) -> list[float]:
        """Return probabilities; if there are several, their sum must be 1 within rounding."""
        values = super().parse_soft(texts)
        if len(values) > 1 and abs(sum(values) - 1) > 0.01 + _ROUNDING * len(values):
            raise ValueError(
                f"the probability columns starting with {self.soft_columns[0]} must add up to 1, "
                f"but add up to {sum(values):g}"
            )
        return values


class BinaryLabels(ClassLabels):
    """Two classes: the negative one and the positive one. Predictions have one column `score`.

    Args:
        labels: as for `ClassLabels`; `0` and `1` if None.

    Raises:
        OptionError: there are not exactly two, they are equal, or one cannot be the name of a column.
    """

    def __init__(self, labels: Sequence[str] | Mapping[str, str] | None = None) -> None:
        super().__init__(["0", "1"] if labels is None else labels)
        if len(self) != 2:
            raise OptionError("labels", f"must list exactly two classes, the negative one first, but lists {len(self)}")

    @property
    def probability_columns(self) -> list[str]:
        """`score`, the probability of the positive class."""
        return ["score"]


class NumberLabels(Labels):
    """Labels that are numbers."""

    are_numbers = True

    @abstractmethod
    def parse(self, text: str) -> float:
        """Return the number; errors are those of `Labels.parse`."""

    def parse_soft(self, texts: Sequence[str]) -> list[float]:
        """Return the predicted number."""
        try:
            return [self.parse(texts[0])]
        except ValueError as error:
            raise ValueError(f"{self.soft_columns[0]} {error}") from None


class ScaleLabels(NumberLabels):
    """Labels that are numbers from `low` to `high`.

    Args:
        low: the smallest label; the option `min` of a head.
        high: the largest label; the option `max` of a head.
        option: the option that sets the largest label, for messages: `max`, or its older name `scale`.

    Raises:
        OptionError: high is not above low.
    """

    def __init__(self, low: float, high: float, option: str = "max") -> None:
        if low >= high:
            raise OptionError(option, f"must be above min, {low:g}, but is {high:g}")
        super().__init__(["pred", "score"], ["pred"])
        self.low = low
        self.high = high

    def parse(self, text: str) -> float:
        """Return the number, which must be from `low` to `high`."""
        value = as_number(text)
        if not self.low <= value <= self.high:
            plain = plain_number(text)
            remedy = f" (write {plain})" if plain else ""
            raise ValueError(f"must be a number from {self.low:g} to {self.high:g}, but is {shown(text)}{remedy}")
        return value


class UnboundedLabels(NumberLabels):
    """Labels that are finite numbers of any size."""

    def __init__(self) -> None:
        super().__init__(["pred"], ["pred"])

    def parse(self, text: str) -> float:
        """Return the number; its size must be at most 1e30, because labels are 32-bit numbers."""
        value = as_number(text)
        if not abs(value) <= _LARGEST:
            plain = plain_number(text)
            remedy = f" (write {plain})" if plain else ""
            raise ValueError(f"must be a number of at most {_LARGEST:g}, but is {shown(text)}{remedy}")
        return value


def _simplified(text: str) -> str:
    """Return a label in lower case, without the spaces, underscores or hyphens between its words."""
    return re.sub(r"(?<=[^\W\d_])[\s_-]+(?=\w)", "", normal(text).casefold())


def _check(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise OptionError("labels", f"must name at least 2 classes, but names {len(names)}")
    doubled = next((name for name, count in Counter(map(normal, names)).items() if count > 1), None)
    if doubled is not None:
        raise OptionError("labels", f"must be distinct, but '{doubled}' appears twice")
    odd = next((name for name in names if not is_name(name)), None)
    if odd is not None:
        rule = "must not contain line breaks, control characters, or leading or trailing spaces"
        raise OptionError("labels", f"{rule}, but {shown(odd)} does")
