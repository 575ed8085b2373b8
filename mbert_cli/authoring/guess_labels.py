"""The labels in a column: classes, or numbers on a scale; or the reason why a column does not contain labels."""

import math
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mbert_cli.authoring.column import Column
from mbert_cli.authoring.names import are_splits, suggests_id, suggests_label, suggests_scale, suggests_text
from mbert_cli.data.label_remarks import case_remark, first_of, labels_in_lists, list_remark, missing_remark
from mbert_cli.data.label_sets import FLAGS
from mbert_cli.data.label_text import as_number, folded, is_date, is_name, plain_number
from mbert_cli.data.list_cells import are_lists
from mbert_cli.data.table import A_LIST
from mbert_cli.errors import counted
from mbert_cli.recipe.yaml_text import dump

_FEW = 12  # up to so many different whole numbers are always classes
_MOST_GUESSED = 100  # classes of a column whose name does not mean label
_MOST_CLASSES = 20_000
_MOST_WRITTEN = 30  # classes in a message
_MOST_DENSE = 1_000  # classes that are whole numbers without gaps
_DENSE = 0.9
_STRAY = 0.1  # share of cells in a column of numbers that may be other texts, such as N/A
_LARGEST = 1e30
_LONGEST_SCALE = 100.0  # a wider range has prices or counts, unless the column's name means a scale
_LEADING_ZERO = re.compile(r"-?0[0-9]")


@dataclass(frozen=True)
class GuessedLabels:
    """The labels of a task.

    Args:
        column: name of the column.
        classes: names of the classes or of the labels in order; empty if labels are numbers.
        min: a round number that is not above any label; for numbers only.
        max: a round number that is not below any label; for numbers only.
        skipped: cells that are no labels, and are skipped: texts among numbers, and `FileReading.missing`.
        notes: remarks for the user.
        low: the smallest label; for numbers only.
        high: the largest label.
        bounded: whether the labels are on a scale from `min` to `max`; for numbers only.
        delimiter: the text between the labels of a row; empty if each row has one label.
        ordered: whether the classes are ordered.
        flags: the columns of 0 and 1, if the task has one column for each label; `column` is the first of them.
        in_brackets: the cells are JSON or Python lists, or lists of JSONL.
    """

    column: str
    classes: list[str]
    min: float = 0.0
    max: float = 0.0
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    bounded: bool = True
    delimiter: str = ""
    ordered: bool = False
    flags: tuple[str, ...] = ()
    in_brackets: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of labels, or the columns."""
        return self.flags or (self.column,)

    @property
    def kind(self) -> Literal["classes", "numbers", "sets"]:
        """Whether the labels are classes, numbers, or sets of labels."""
        if self.delimiter or self.flags:
            return "sets"
        return "classes" if self.classes else "numbers"

    def is_usable(self, cell: str) -> bool:
        """Whether a cell of a column is a label; rows with other cells are skipped."""
        text = folded(cell)
        return text not in self.skipped if text else self.kind == "sets" and not self.flags

    def line(self) -> str:
        """Return a description for people."""
        if self.kind == "numbers" and not self.bounded:
            return f"numbers {self.low:g} to {self.high:g}, without limits"
        if self.kind == "numbers":
            own = "" if (self.low, self.high) == (self.min, self.max) else f"{self.low:g} to {self.high:g}, "
            return f"numbers {own}on a scale from {self.min:g} to {self.max:g}"
        if self.flags:
            return f"{len(self.flags)} labels for each row, one column of 0 and 1 for each"
        if self.kind == "sets":
            separated = "" if self.in_brackets else f", separated by '{self.delimiter}'"
            return f"lists of {len(self.classes)} labels{separated}: {first_of(self.classes)}"
        return f"{len(self.classes)} classes: {first_of(self.classes)}"


def why_impossible(column: Column) -> str | None:
    """Return why a column cannot be used as labels; None if it can."""
    if not column.is_distinct:
        return "its name is in the header more than once" if column.name else "it has no name in the header"
    if len(column.values) < 2:
        return "contains one value only" if column.values else "is empty"
    if problem := why_unreadable(column):
        return problem
    if _is_scale(column):
        huge = next((text for text, value in column.numbers.items() if abs(value) > _LARGEST), None)
        return f"contains {huge}, which is too large for a scale" if huge else None
    lists = labels_in_lists(column.values)
    names = lists[1] if lists else column.values
    if len(names) > _MOST_CLASSES:
        return f"contains {len(column.values):,} different values or more, too many for classes"
    odd = next((text for text in names if not is_name(text)), None)
    return None if odd is None else f"contains {odd[:40]!r}, which has line ends or control characters"


def why_unreadable(column: Column) -> str | None:
    """Return why the numbers in a column cannot be read: decimal commas, percent signs; None if they can."""
    numbers = {text: plain for text in column.values if (plain := plain_number(text)) is not None}
    if not numbers or len(column.numbers) + len(numbers) < len(column.values):
        return None
    text, plain = next(iter(numbers.items()))
    if "," not in text:
        return f"contains percentages, such as '{text}': write {plain}"
    return f"contains numbers with a comma, such as '{text}': write {plain}; in a list of numbers, separate them by |"


def why_unlikely(column: Column) -> str | None:
    """Return why a column does not look like labels; None if it does."""
    distinct, numbers, named = column.distinct, column.numbers, suggests_label(column.name)
    if column.nested and not (column.nested == A_LIST and labels_in_lists(column.values)):
        return f"contains {column.nested}, which is neither a text nor a label"
    if suggests_id(column.name):
        return "its name suggests an id"
    if are_lists(column.values):
        lists = labels_in_lists(column.values)
        many = lists is not None and len(lists[1]) > max(_FEW, column.filled // 2)
        return f"lists of {len(lists[1]):,} different values" if lists and many else None
    if are_splits(column.values):
        option = f"--split-column {shlex.quote(column.name)}"
        return f"names of splits; rows of all splits are used: to divide the file by them, add {option}"
    if column.values and all(map(is_date, column.values)):
        return "dates"
    if column.mean_words > 3:
        return f"texts of {column.mean_words:.0f} words"
    if suggests_text(column.name):
        return "its name suggests a text"
    if labels_in_lists(column.values):
        return None
    much = column.filled > _FEW and distinct > (column.filled - 1 if named else column.filled // 2)
    if len(numbers) == len(column.values):
        if much and all(value.is_integer() for value in numbers.values()):
            return f"{distinct:,} different whole numbers in {counted(column.filled, 'row')}, like ids"
        if not named and distinct == column.filled:
            return "each row has a different number"
    elif distinct > max(2, column.filled // 2):
        return f"{distinct:,} different values in {counted(column.filled, 'row')}"
    if not named and not _is_scale(column) and distinct > _MOST_GUESSED:
        return f"{distinct:,} different values"
    return None


def is_flag(column: Column) -> bool:
    """Whether the values of a column are 0 and 1, or false and true."""
    return {FLAGS.get(value.casefold()) for value in column.values} == {0.0, 1.0}


def read_flags(columns: Sequence[Column]) -> GuessedLabels:
    """Return the labels of a task that has a column of 0 and 1 for each label."""
    names = tuple(column.name for column in columns)
    return GuessedLabels(names[0], list(names), flags=names)


def read_labels(column: Column) -> GuessedLabels:
    """Return the labels in a column for which `why_impossible` is None."""
    numbers = column.numbers
    notes = []
    if column.other_forms:
        verb = "is" if column.other_forms == 1 else "are"
        cells = counted(column.other_forms, "cell")
        notes.append(f"{cells} {verb} in another Unicode form (NFD); each belongs to the class that looks the same")
    if _is_scale(column):
        skipped = tuple(text for text in column.values if text not in numbers)
        if skipped:
            notes.append(f"not numbers, and skipped: {first_of(skipped)}")
        low, high = _range(min(numbers.values()), max(numbers.values()))
        bounded = suggests_scale(column.name) or high - low <= _LONGEST_SCALE
        if not bounded:
            head = f"head: {{kind: regression, min: {low:.12g}, max: {high:.12g}}}"
            notes.append(f"a wide range, read without limits; if they have limits, write {head}")
        elif all(value.is_integer() for value in numbers.values()):
            notes.append(f"whole numbers, read as a scale; if they are classes, write {_as_classes(numbers)}")
        own = min(numbers.values()), max(numbers.values())
        return GuessedLabels(column.name, [], low, high, skipped, tuple(notes), *own, bounded)
    if lists := labels_in_lists(column.values):
        names, brackets = _in_order(lists[1]), are_lists(column.values)
        return GuessedLabels(column.name, names, notes=tuple(notes), delimiter=lists[0], in_brackets=brackets)
    if len(numbers) == len(column.values):
        classes = _in_order(numbers)
        if len(classes) > _FEW:
            notes.append(
                "whole numbers, read as classes; if they are a scale, write head: "
                f"{{kind: regression, min: {min(numbers.values()):g}, max: {max(numbers.values()):g}}}"
            )
    else:
        classes = _in_order(column.values)
    missing = missing_remark(column.values, in_recipe=False)
    notes += [remark for remark in (list_remark(classes), case_remark(classes), missing) if remark]
    return GuessedLabels(column.name, classes, notes=tuple(notes))


def _in_order(texts: Collection[str]) -> list[str]:
    """Return classes in order: numbers by value, then texts. If there are codes such as `007`, all are texts."""
    if any(_LEADING_ZERO.match(text) and math.isfinite(as_number(text)) for text in texts):
        return sorted(texts)
    numbers = {text: as_number(text) for text in texts}
    finite = [text for text in texts if math.isfinite(numbers[text])]
    return sorted(finite, key=lambda text: (numbers[text], text)) + sorted(set(texts) - set(finite))


def _as_classes(numbers: Mapping[str, float]) -> str:
    """Return a head with numbers as classes, as a recipe contains it if it is short."""
    if len(numbers) > _MOST_WRITTEN:
        return f"kind: classification, and list all {len(numbers):,} of them as the head's labels"
    labels = " ".join(dump({"labels": _in_order(numbers)}, compact=True).split())
    return f"head: {{kind: classification, {labels}}}"


def _is_scale(column: Column) -> bool:
    """Whether the labels are numbers on a scale, not classes."""
    numbers = column.numbers
    if len(numbers) <= _FEW and all(value.is_integer() for value in numbers.values()):
        return False
    stray = [count for text, count in column.values.items() if text not in numbers]
    if stray and (len(stray) > 3 or len(numbers) <= _FEW or sum(stray) > _STRAY * column.filled):
        return False
    if any(_LEADING_ZERO.match(text) and numbers[text].is_integer() for text in numbers):
        return False  # codes: 007
    if not numbers or any(not value.is_integer() for value in numbers.values()):
        return bool(numbers)
    low, high = min(numbers.values()), max(numbers.values())
    is_dense = low in (0, 1) and len(numbers) >= _DENSE * (high - low + 1)
    repeated = column.filled >= 2 * len(numbers)
    return suggests_scale(column.name) or not (is_dense and repeated and len(numbers) <= _MOST_DENSE)


def _range(low: float, high: float) -> tuple[float, float]:
    """Return round limits of a scale: 0 and 1 for labels from 0.2 to 0.9, 1 and 5 for labels from 1 to 4.8."""
    least = 0.0 if 0 <= low < 1 else float(math.floor(low))
    most = float(math.ceil(high))
    if least == 0 and 0 < high <= 0.5:
        unit = 10.0 ** math.floor(math.log10(high))
        most = next((times * unit for times in (1, 2, 5) if times * unit >= high), 10 * unit)
    return least, most if most > least else least + 1
