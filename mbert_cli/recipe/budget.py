"""Budgets: a recipe can give the number of parameters of an adapter instead of its rank."""

import re
from fractions import Fraction
from typing import Any

_FORM = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>x|%|k|K|M|G|)")
_THOUSANDS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


def parameters_within(budget: Any, encoder: int) -> int:
    """Return the maximum number of parameters of an adapter over all tasks.

    Args:
        budget: `1.13x`: the encoder and the adapters together have at most 1.13 times the parameters of the encoder;
            `5%`: at most 5% of the parameters of the encoder; `2M`, `300k` or a whole number: number of parameters.
        encoder: number of parameters of the encoder.

    Raises:
        ValueError: the budget has another form. The message continues the name of the budget: "must be ..., but is
            ...".
    """
    match = _FORM.fullmatch(str(budget).strip())
    number = Fraction(match["number"]) if match else Fraction(0)
    if match and match["unit"] == "x":
        number -= 1
    if not match or number <= 0:
        raise ValueError(
            "must be a multiple of the encoder above 1 (1.13x), a percentage of it (5%) or a number of parameters "
            f"(2M), but is {budget!r}"
        )
    scale = {"x": Fraction(encoder), "%": Fraction(encoder, 100)}.get(match["unit"])
    return int(number * (_THOUSANDS[match["unit"]] if scale is None else scale))
