"""What the columns of a table seem to hold: texts, a label, an id."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mbert_cli.errors import UsageError
from mbert_cli.recipe_file import nearest

Labels = Literal["classes", "numbers"]
_LABEL_NAMES = (
    "label", "labels", "class", "category", "target", "y", "sentiment", "emotion", "mood", "intent", "topic", "stars",
    "rating", "score", "similarity", "is_duplicate", "duplicate", "same", "is_same", "entailment", "gold_label",
)  # fmt: skip
_TEXT_NAMES = ("text", "sentence", "review", "comment", "message", "question", "query", "title", "body", "content")
_ID_NAMES = ("id", "idx", "index", "guid", "uid", "key", "no", "number")
# Pairs go by such names: the end that differs, or the whole name.
_PAIR_ENDS = (("1", "2"), ("a", "b"), ("A", "B"), ("one", "two"), ("first", "second"), ("left", "right"))
_PAIR_NAMES = (("premise", "hypothesis"), ("question", "answer"), ("query", "passage"), ("source", "target"))
_MOST_CLASSES = 100
_MOST_NUMERIC_CLASSES = 12
_MOST_COUNTED = 100_000


@dataclass
class _Column:
    """What is counted of a column."""

    name: str
    words: int = 0
    filled: int = 0
    values: Counter[str] = field(default_factory=Counter)

    def count(self, cell: str) -> None:
        text = cell.strip()
        if text:
            self.filled += 1
            self.words += len(text.split())
            if text in self.values or len(self.values) < _MOST_COUNTED:
                self.values[text] += 1

    @property
    def mean_words(self) -> float:
        return self.words / max(1, self.filled)

    @property
    def numbers(self) -> list[float] | None:
        """The distinct values as numbers; None where one is none."""
        try:
            return [float(value) for value in self.values]
        except ValueError:
            return None

    @property
    def looks_like_ids(self) -> bool:
        return self.name.lower() in _ID_NAMES or (
            len(self.values) == self.filled > _MOST_NUMERIC_CLASSES and self.mean_words < 1.5 and self.numbers is None
        )


@dataclass(frozen=True)
class Guess:
    """What the columns of a table seem to hold.

    Args:
        text: the column of texts, or the two of pairs.
        is_pair: whether the two are sentences of a kind, such as two questions; not a title and a body.
        label: the column of labels.
        labels: whether they are classes or numbers on a scale.
        classes: the names of the classes, in order.
        scale: where the labels are numbers, the whole number that none exceeds.
        id: the column of ids, if there is one.
        words: of a row's texts, on the mean.
        certain: whether a name told the label; otherwise its values did.
    """

    text: list[str]
    is_pair: bool
    label: str
    labels: Labels
    classes: list[str]
    scale: float
    id: str | None
    words: float
    certain: bool


def guess_columns(
    place: str, header: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[str] = (), label: str | None = None
) -> Guess:
    """Guess what the columns of a table hold.

    Args:
        place: the file, for messages.
        header: the names of the columns.
        rows: their cells, parallel to the names.
        text: the columns of texts, if they are known.
        label: the column of labels, if it is known.

    Raises:
        UsageError: a column that is said to be known does not exist, or no text or no label can be found.
    """
    for name in (*text, *([label] if label else ())):
        if name not in header:
            raise UsageError(f"{place}: has no column '{name}'{nearest(name, [each for each in header if each])}")
    columns = [_Column(name) for name in header]
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            column.count(cell)
    if not any(column.filled for column in columns):
        raise UsageError(f"{place}: holds no rows below its header.")
    by_name = {column.name: column for column in columns}
    certain = label is not None or any(_named(column) for column in columns)
    labelled = by_name[label] if label else _find_label([each for each in columns if each.name not in text], place)
    others = [column for column in columns if column is not labelled]
    texts, is_pair = ([by_name[name] for name in text], len(text) == 2) if text else _find_texts(others, place)
    kind, classes, scale = _labels(labelled, place)
    return Guess(
        text=[column.name for column in texts],
        is_pair=is_pair,
        label=labelled.name,
        labels=kind,
        classes=classes,
        scale=scale,
        id=next((each.name for each in others if each not in texts and each.looks_like_ids), None),
        words=sum(column.mean_words for column in texts),
        certain=certain,
    )


def _named(column: _Column) -> bool:
    return column.name.lower() in _LABEL_NAMES


def _find_label(columns: Sequence[_Column], place: str) -> _Column:
    named = [column for column in columns if _named(column)]
    if named:
        return min(named, key=lambda column: _LABEL_NAMES.index(column.name.lower()))
    few = [column for column in columns if _could_be_label(column)]
    if not few:
        raise UsageError(
            f"{place}: no column looks like labels; name it with --label. Known: {', '.join(c.name for c in columns)}."
        )
    return few[-1]  # labels tend to stand at the end


def _could_be_label(column: _Column) -> bool:
    if column.name.lower() in _ID_NAMES or column.mean_words > 3:
        return False
    few = 2 <= len(column.values) <= min(_MOST_CLASSES, max(2, column.filled // 2))
    return few or (column.numbers is not None and len(column.values) < column.filled)


def _find_texts(columns: Sequence[_Column], place: str) -> tuple[list[_Column], bool]:
    texts = [each for each in columns if each.mean_words >= 2 or _bare(each.name) in _TEXT_NAMES]
    texts = [each for each in texts if each.filled and not each.looks_like_ids]
    if not texts:
        raise UsageError(
            f"{place}: no column looks like texts; name it with --text, twice for pairs. "
            f"Known: {', '.join(column.name for column in columns)}."
        )
    for first in texts:
        for second in texts:
            if _are_a_pair(first.name, second.name):
                return [first, second], True
    longest = sorted(texts, key=lambda column: -column.words)[:2]
    if len(longest) == 2 and longest[1].words * 10 >= longest[0].words:
        return [column for column in texts if column in longest], False
    return longest[:1], False


def _bare(name: str) -> str:
    return re.sub(r"[_\W\d]+", "", name.lower())


def _are_a_pair(first: str, second: str) -> bool:
    if (first.lower(), second.lower()) in _PAIR_NAMES:
        return True
    return any(
        first.endswith(one) and second.endswith(two) and first.removesuffix(one) == second.removesuffix(two)
        for one, two in _PAIR_ENDS
    )


def _labels(column: _Column, place: str) -> tuple[Labels, list[str], float]:
    numbers = column.numbers
    if numbers is not None and not all(map(math.isfinite, numbers)):
        numbers = None
    if numbers is not None and (len(numbers) > _MOST_NUMERIC_CLASSES or any(not each.is_integer() for each in numbers)):
        if set(numbers) <= {0.0, 1.0}:
            return "classes", ["0", "1"], 1.0
        if min(numbers) < 0:
            raise UsageError(f"{place}: {column.name} has values below 0, but scales run from 0; shift them.")
        return "numbers", [], float(max(1, math.ceil(max(numbers))))
    if len(column.values) < 2:
        raise UsageError(f"{place}: {column.name} holds one value only; name another column with --label.")
    if len(column.values) > _MOST_CLASSES:
        raise UsageError(
            f"{place}: {column.name} holds {len(column.values)} different values, too many for classes; "
            "name another column with --label."
        )
    if numbers is None:
        return "classes", sorted(column.values), 0.0
    return "classes", [f"{number:.0f}" for number in sorted(set(numbers))], max(numbers)
