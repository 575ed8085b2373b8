"""Labels of rows that have several labels each, in one column or in a column for each label.

Must not import torch: fast start-up.
"""

from collections.abc import Iterable, Mapping, Sequence

from mbert_cli.data.label_text import folded
from mbert_cli.data.labels import NamedLabels
from mbert_cli.data.list_cells import parts_of
from mbert_cli.errors import OptionError
from mbert_cli.messages import shown

DELIMITER = ","
"""The delimiter of a head that does not set one."""

FLAGS = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
"""What a cell in the column of one label means; upper and lower case are equal."""


class LabelSets(NamedLabels):
    """Sets of labels. A set becomes one number for each label: 1 if the set has it, otherwise 0.

    A cell lists the labels of a row, such as `rude,threat` or `["rude", "threat"]`. An empty cell is the empty set. If
    a file has a column for each label instead, each of its cells is read by `parse_flag`.

    Args:
        labels: see `NamedLabels`.
        delimiter: the text between two labels, in files and in predictions.

    Raises:
        OptionError: the delimiter is empty or a control character, or a label contains it; or see `NamedLabels`.
    """

    may_be_empty = True

    def __init__(self, labels: Sequence[str] | Mapping[str, str], delimiter: str = DELIMITER) -> None:
        super().__init__(labels)
        if not delimiter or not delimiter.isprintable():
            raise OptionError("delimiter", f"must be a visible text or a space, but is {shown(delimiter)}")
        split = next((name for name in (*self.texts, *self.names) if delimiter in name), None)
        if split is not None:
            what = f"is {shown(delimiter)}, but the label {shown(split)} contains it; choose another delimiter"
            raise OptionError("delimiter", what)
        self.delimiter = delimiter

    def parse(self, text: str) -> tuple[float, ...]:
        """Return the set that a cell lists. Spaces around a label and empty parts have no meaning."""
        chosen = set()
        for part in [text] if self.index(text) is not None else parts_of(text, self.delimiter):
            index = self.index(part)
            if index is None:
                rule = f"must list some of {self.known()}, separated by {shown(self.delimiter)}"
                raise ValueError(f"{rule}, but contains {shown(part)}{self.hint(part)}")
            chosen.add(index)
        return tuple(float(index in chosen) for index in range(len(self)))

    def joined(self, flags: Iterable[float | int]) -> str:
        """Return a set as a text: its names in the order of the labels, joined by the delimiter."""
        return self.delimiter.join(name for name, flag in zip(self.names, flags, strict=True) if flag)


def parse_flag(text: str) -> float:
    """Return whether a row has the label of a column: 1 or 0; `true` and `false` in any case mean the same.

    Raises:
        ValueError: the cell contains another text; the message continues the column's name.
    """
    flag = FLAGS.get(folded(text).casefold())
    if flag is None:
        raise ValueError(f"must be 0 or 1, but is {shown(text)}")
    return flag
