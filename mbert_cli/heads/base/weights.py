"""The weights of examples in a loss, as recipes set them."""

import math
from typing import Annotated, Any

from pydantic import Field

PositiveNumber = Annotated[float, Field(gt=0)]
"""The type of a weight in the JSON Schema of recipes; `is_weight` checks the value."""


def is_weight(value: Any) -> bool:
    """Whether a value of a recipe is a positive finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
