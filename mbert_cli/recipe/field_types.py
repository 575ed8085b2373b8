"""Types of the values of a recipe that are more than a plain number or string."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]

_SECONDS = {"s": 1, "min": 60, "h": 3600}
_DURATION = "[1-9][0-9]{0,5}(s|min|h)"


def _interval(value: Any) -> int | str | None:
    steps = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value is None or steps or (isinstance(value, str) and re.fullmatch(_DURATION, value)):
        valid: int | str | None = value
        return valid
    raise ValueError("must be a number of steps, such as 500, or a time such as 45s, 10min or 2h")


_Steps = Annotated[int, Field(ge=1)]
_Time = Annotated[str, Field(pattern=f"^{_DURATION}$")]
Interval = Annotated[int | str | None, PlainValidator(_interval, json_schema_input_type=_Steps | _Time | None)]
"""A number of steps, or a time: ``500``, ``10min``; None for never."""


def _duration(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and re.fullmatch(_DURATION, value)):
        return value
    raise ValueError("must be a time such as 45s, 30min or 2h")


Duration = Annotated[str | None, PlainValidator(_duration, json_schema_input_type=_Time | None)]
"""A time: ``45s``, ``30min``, ``2h``; None for no limit."""


def seconds_in(duration: str) -> int:
    """Return the number of seconds of a time such as ``30min``."""
    number = duration.rstrip("sminh")
    return int(number) * _SECONDS[duration.removeprefix(number)]


def _layers(value: Any) -> int | Literal["all"]:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        valid: int | Literal["all"] = value
        return valid
    raise ValueError("must be a number of layers, or all")


_Number = Annotated[int, Field(ge=0)]
Layers = Annotated[int | Literal["all"], PlainValidator(_layers, json_schema_input_type=_Number | Literal["all"])]
"""A number of layers, or all layers of the encoder."""


def _soft_share(value: Any) -> float | Literal["annealed"] | None:
    if value is None or value == "annealed":
        valid: Literal["annealed"] | None = value
        return valid
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise ValueError("must be annealed, or a share of the loss above 0 and at most 1")


_Constant = Annotated[float, Field(gt=0, le=1)]
SoftShare = Annotated[
    float | Literal["annealed"] | None,
    PlainValidator(_soft_share, json_schema_input_type=_Constant | Literal["annealed"] | None),
]
"""The share of the soft labels in a task's loss; None if the task has no soft labels."""


def _different(columns: list[str]) -> list[str]:
    if len(columns) == 2 and columns[0] == columns[1]:
        raise ValueError("must name two different columns")
    return columns


Texts = Annotated[list[str], Field(min_length=1, max_length=2), AfterValidator(_different)]
"""The column of the text, or the two columns of a pair."""


def _label_columns(value: Any) -> str | list[str]:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) > 1 and all(isinstance(each, str) for each in value):
        if len(set(value)) < len(value):
            raise ValueError("must name each column once")
        return value
    raise ValueError("must be the name of a column, or a list of at least two names")


def _tracker_kinds(value: Any) -> list[str]:
    kinds = [value] if isinstance(value, str) else value
    if not isinstance(kinds, list) or not all(isinstance(each, str) for each in kinds):
        raise ValueError("must be a list of trackers, such as [tensorboard]")
    if len(set(kinds)) < len(kinds):
        raise ValueError("must name each tracker once")
    return kinds


TrackerKinds = Annotated[list[str], PlainValidator(_tracker_kinds, json_schema_input_type=str | list[str])]
"""Kinds of trackers, each once; a single name is a list of one."""


_Columns = Annotated[list[str], Field(min_length=2)]
LabelColumns = Annotated[str | list[str], PlainValidator(_label_columns, json_schema_input_type=str | _Columns)]
"""The column of the label, or one column for each label."""
