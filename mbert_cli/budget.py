"""Budgets: what a task-specific method may cost, in place of its rank."""

import re
from fractions import Fraction
from typing import Any

_FORM = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>x|%|k|K|M|G|)")
_THOUSANDS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


def parameters_within(budget: Any, encoder: int) -> int:
    """Return how many parameters a budget allows to an adapter, over all tasks.

    Args:
        budget: `1.13x`: encoder and adapters are at most 1.13 times the encoder; `5%` of the encoder; `2M`, `300k` or a
            whole number of parameters.
        encoder: parameters of the encoder.

    Raises:
        ValueError: it is none of these; the message goes on after the budget's name: "must be ..., but is ...".
    """
    found = _FORM.fullmatch(str(budget).strip())
    number = Fraction(found["number"]) if found else Fraction(0)
    if found and found["unit"] == "x":
        number -= 1
    if not found or number <= 0:
        raise ValueError(
            "must be a multiple of the encoder above 1 (1.13x), a share of it (5%) or a number of parameters (2M), "
            f"but is {budget!r}"
        )
    scale = {"x": Fraction(encoder), "%": Fraction(encoder, 100)}.get(found["unit"])
    return int(number * (_THOUSANDS[found["unit"]] if scale is None else scale))
