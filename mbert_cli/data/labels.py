"""Labels as texts: which texts of a file are the same label, and what a class may be called. No torch here."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

from pydantic import PlainValidator

from mbert_cli.errors import OptionError
from mbert_cli.messages import shown

_WHOLE = re.compile(r"(-?[0-9]+)\.0*")
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode categories: control, surrogate, line and paragraph separator
_MOST_LISTED = 12
_MOST_SHOWN = 6
_COMMA_NUMBER = re.compile(
    r"[-+]?[0-9]+,[0-9]+|[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?|[-+]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+"
)
_PERCENT = re.compile(r"([-+]?[0-9]+(?:[.,][0-9]+)?)\s*%")
_DATE = re.compile(
    r"([0-9]{4}([-/.])[0-9]{1,2}\2[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\3([0-9]{4}|[0-9]{2})"
    r"|[0-9]{1,2}\.? [^\W\d_]{3,9}\.? [0-9]{4}|[^\W\d_]{3,9}\.? [0-9]{1,2},? [0-9]{4})"
    r"(,?[T ][0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?\s*([AaPp][Mm])?\s*(Z|UTC|[-+][0-9]{2}:?([0-9]{2})?)?)?"
)
_SEPARATORS = ("|", ";", ",", "/", "+")


def normal(text: str) -> str:
    """Return a label as it is compared: in Unicode NFC, without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


def folded(text: str) -> str:
    """Return a label as it is compared, a whole number without its zeros after the point: `1.0` is `1`.

    Nothing else is taken for the same: `01`, `1e0` and `+1` are labels of their own.
    """
    name = normal(text)
    match = _WHOLE.fullmatch(name)
    return match[1] if match else name


def as_number(text: str) -> float:
    """Return a label as a number; NaN where it is none. Digits of other scripts, and `1_0`, which Python reads, are."""
    plain = text.strip()
    with suppress(ValueError):
        if plain.isascii() and "_" not in plain:
            return float(plain)
    return math.nan


def has_decimal_comma(text: str) -> bool:
    """Whether a text is a number with a comma, of decimals or of thousands: `3,7`, `1,234`, `1.234,5`."""
    return _COMMA_NUMBER.fullmatch(text.strip()) is not None


def plain_number(text: str) -> str | None:
    """Return how a number with a comma or a percent sign is to be written; None where a text is no such number.

    `3,7` is `3.7`, `1,234` is `1.234 or 1234`, `1.234,5` is `1234.5`, and `10%` is `10`.
    """
    text = text.strip()
    if percent := _PERCENT.fullmatch(text):
        return percent[1].replace(",", ".")
    if not has_decimal_comma(text):
        return None
    if "." in text:
        return text.replace(",", "") if text.rindex(".") > text.rindex(",") else text.replace(".", "").replace(",", ".")
    whole, *parts = text.split(",")
    if len(parts) > 1:
        return whole + "".join(parts)
    could_be_thousands = len(parts[0]) == 3 and len(whole.lstrip("+-")) <= 3 and whole.lstrip("+-")[0] != "0"
    return f"{whole}.{parts[0]} or {whole}{parts[0]}" if could_be_thousands else f"{whole}.{parts[0]}"


def is_date(text: str) -> bool:
    """Whether a text is a date, with or without a time: `2024-03-01T10:00Z`, `01.03.2024`, `3/1/2024`, `1 Mar 2024`."""
    return _DATE.fullmatch(text.strip()) is not None


def case_remark(labels: Sequence[str]) -> str | None:
    """Return that some labels differ in upper and lower case only, for people; None where none do."""
    seen: dict[str, str] = {}
    for label in labels:
        other = seen.setdefault(label.casefold(), label)
        if other != label:
            return f"'{other}' and '{label}' differ in case only, and each is a class of its own; write them alike"
    return None


def list_separator(labels: Collection[str]) -> str | None:
    """Return what separates several labels in one text, such as `|` in `rude|threat`; None where nothing seems to.

    Most texts that hold a separator have a part that is a label itself, or a part of another label. Texts that are JSON
    or Python lists are separated by `,`.
    """
    if any(label.startswith("[") and label.endswith("]") for label in labels):
        return ","
    for separator in _SEPARATORS:
        lists = [parts for label in labels if len(parts := [each.strip() for each in label.split(separator)]) > 1]
        known = Counter(part for parts in lists for part in {*parts})
        known.update(label for label in labels if separator not in label)
        recurring = sum(any(part and known[part] > 1 for part in parts) for parts in lists)
        if 2 * recurring > len(lists):
            return separator
    return None


def first_of(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - _MOST_SHOWN:,} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


def without_dev_rows(names: Sequence[str]) -> str:
    """Return that classes have no dev rows, for people."""
    one = len(names) == 1
    return f"no dev rows of class{'' if one else 'es'} {first_of(names)}: {'it gets' if one else 'they get'} no score"


def list_remark(labels: Sequence[str]) -> str | None:
    """Return that labels look like lists, for people; None where they do not."""
    separator = list_separator(labels)
    if separator is None:
        return None
    several = next((label for label in labels if separator in label), labels[0])
    return f"'{several}' looks like a list of labels; every such text is a class of its own"


def _class_names(value: Any) -> list[str] | dict[str, str] | None:
    names = list(value.values()) if isinstance(value, dict) else value
    if value is None or (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        found: list[str] | dict[str, str] | None = value
        return found
    raise ValueError("must be a list of texts, or a mapping of the file's labels to the names that predictions show")


Renaming = dict[str, str]
"""What a file holds, and what predictions show for it."""

ClassLabels = Annotated[
    list[str] | Renaming | None,
    PlainValidator(_class_names, json_schema_input_type=list[str] | Renaming | None),
]
"""The classes' names in order: as the file holds them, or a mapping of those to what predictions show."""


class ClassNames:
    """The classes of a task: what files hold, and what predictions show.

    Args:
        labels: the names in order; or, for each text of a file, the name that predictions show.

    Raises:
        OptionError: there are not two, they are not distinct, or cannot be names of columns.
    """

    def __init__(self, labels: Sequence[str] | Mapping[str, str]) -> None:
        self.texts = list(labels)
        self.shown = list(labels.values()) if isinstance(labels, Mapping) else self.texts
        for names in (self.texts, self.shown):
            _check(names)
        self._index = {normal(text): index for index, text in enumerate(self.texts)}
        for index, text in enumerate(self.texts):
            self._index.setdefault(folded(text), index)

    def index(self, text: str) -> int:
        """Return the index of the class that a text of a file names; a whole number may also be written `1.0`.

        Raises:
            ValueError: it names none of them.
        """
        found = self._index.get(normal(text))
        if found is None:
            found = self._index.get(folded(text))
        if found is None:
            few = len(self.texts) <= _MOST_LISTED
            known = ", ".join(self.texts) if few else f"{self.texts[0]} to {self.texts[-1]}"
            raise ValueError(f"must be one of {known}, but is {shown(text)}")
        return found


def _check(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise OptionError("labels", f"must name at least 2 classes, but names {len(names)}")
    doubled = next((name for name, count in Counter(map(normal, names)).items() if count > 1), None)
    if doubled is not None:
        raise OptionError("labels", f"must differ from each other, but name '{doubled}' twice")
    odd = next((name for name in names if not is_name(name)), None)
    if odd is not None:
        what = "must hold no line ends or control characters, and no blanks around them"
        raise OptionError("labels", f"{what}, but one is {shown(odd)}")


def is_name(text: str) -> bool:
    """Whether a text can be the name of a class: not empty, no blanks around it, no control characters in it."""
    return bool(text) and text == text.strip() and not any(unicodedata.category(each) in _FORBIDDEN for each in text)
