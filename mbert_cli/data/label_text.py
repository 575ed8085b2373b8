"""Labels as texts: which texts are the same label, which are numbers or dates, and which can name a class."""

import math
import re
import unicodedata
from contextlib import suppress

_WHOLE = re.compile(r"(-?[0-9]+)\.0*")
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode categories: control, surrogate, line and paragraph separator
_COMMA_NUMBER = re.compile(
    r"[-+]?[0-9]+,[0-9]+|[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?|[-+]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+"
)
_PERCENT = re.compile(r"([-+]?[0-9]+(?:[.,][0-9]+)?)\s*%")
_DATE = re.compile(
    r"([0-9]{4}([-/.])[0-9]{1,2}\2[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\3([0-9]{4}|[0-9]{2})"
    r"|[0-9]{1,2} [0-9]{1,2}, [0-9]{4}|[0-9]{1,2}\.? [^\W\d_]{3,9}\.? [0-9]{4}|[^\W\d_]{3,9}\.? [0-9]{1,2},? [0-9]{4})"
    r"(,?[T ][0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?\s*([AaPp][Mm])?\s*(Z|UTC|[-+][0-9]{2}:?([0-9]{2})?)?)?"
)


def normal(text: str) -> str:
    """Return the form in which labels are compared: Unicode NFC, without spaces at either end."""
    return unicodedata.normalize("NFC", text).strip()


def folded(text: str) -> str:
    """Return `normal(text)`; a whole number loses its decimal zeros: `1.0` becomes `1`.

    No other texts become equal: `01`, `1e0` and `+1` stay separate labels.
    """
    name = normal(text)
    match = _WHOLE.fullmatch(name)
    return match[1] if match else name


def as_number(text: str) -> float:
    """Return a label as a number, or NaN if it is not a number.

    Python also accepts `1_0` and the digits of other scripts; this function does not.
    """
    plain = text.strip()
    with suppress(ValueError):
        if plain.isascii() and "_" not in plain:
            return float(plain)
    return math.nan


def has_decimal_comma(text: str) -> bool:
    """Whether a text is a number with a decimal comma or a thousands comma: `3,7`, `1,234`, `1.234,5`."""
    return _COMMA_NUMBER.fullmatch(text.strip()) is not None


def plain_number(text: str) -> str | None:
    """Return how to write a number without its comma or percent sign; None if the text is not such a number.

    `3,7` becomes `3.7`, `1,234` becomes `1.234 or 1234`, `1.234,5` becomes `1234.5`, and `10%` becomes `10`.
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


def is_name(text: str) -> bool:
    """Whether a text can name a class: not empty, no spaces at either end, no control characters."""
    return bool(text) and text == text.strip() and not any(unicodedata.category(each) in _FORBIDDEN for each in text)
