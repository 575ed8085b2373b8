"""Messages for misspelt keys of a recipe, and for the validation errors of pydantic."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from mbert_cli.messages import nearest, shown

OTHER_NAMES = {
    "lr": "learning_rate",
    "bs": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "num_train_epochs": "epochs",
    "max_epochs": "epochs",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "seq_len": "max_length",
    "wd": "weight_decay",
    "warmup_ratio": "warmup",
    "lr_scheduler_type": "schedule",
    "max_grad_norm": "clip_norm",
    "llrd": "layer_decay",
    "eval_steps": "evaluate_every",
    "val_check_interval": "evaluate_every",
    "early_stopping_patience": "patience",
    "early_stopping": "patience",
    "early_stopping_rounds": "patience",
    "max_train_steps": "max_steps",
    "max_duration": "max_time",
    "time_limit": "max_time",
    "gradient_accumulation_steps": "accumulate",
    "accumulate_grad_batches": "accumulate",
    "report_to": "track",
    "logger": "track",
    "loggers": "track",
}
"""What other tools call the keys of a recipe's `training` section."""

_OF_HEADS = {"class_weights": "positive_weight", "pos_weight": "positive_weight", "num_classes": "labels"}
"""The names that other heads or other tools use for options of heads."""

_REQUIREMENTS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must contain keys and values",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "model_type": "must contain keys and values",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be a string",
    "value_error": "{error}",
}
"""What a value must be, by the type of the error; the fields are those of its `ctx`."""


_DIGITS = "[0-9]+(e[+-]?[0-9]+)?"  # of a number after its decimal comma


def unknown_key_message(key: str, known: Sequence[str], sections: Mapping[str, Collection[str]] = {}) -> str:
    """Return the end of a sentence that begins with the name of an unknown key: what to write instead.

    If another section has the key, this is the key with that section. Otherwise, this is the nearest key of the same
    section, and a list of all its keys.

    Args:
        key: the unknown key, without its section.
        known: the keys of the section.
        sections: the keys of all sections, by the prefix with which overrides name them, such as `training.`.
    """
    if re.fullmatch(_DIGITS, key):
        return f"is not a known key; write a decimal point, not a comma, before {key}."
    meant = OTHER_NAMES.get(key, _OF_HEADS.get(key, key))
    other = [f"{prefix}{meant}" for prefix, keys in sections.items() if meant in keys and meant not in known]
    if other:
        return f"is not a key of this section; write {' or '.join(other)}."
    return f"is not a known key{nearest(meant if meant in known else key, known)}"


def validation_message(error: ErrorDetails) -> str:
    """Return the end of a sentence that begins with the name of the value: ``must be at least 1, but is 0``.

    Args:
        error: one of `ValidationError.errors()`.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind in ("too_short", "string_too_short") and context["min_length"] == 1:
        return "is empty"
    if kind == "too_long":
        return f"must have at most {context['max_length']} items, but has {context['actual_length']}"
    if kind not in _REQUIREMENTS:
        return f"is not valid: {error['msg']}"
    values = {name: _number(value) for name, value in context.items()}
    return f"{_REQUIREMENTS[kind].format(**values)}, but is {shown(error['input'])}{_remedy(kind, error['input'])}"


def _remedy(kind: str, value: Any) -> str:
    """Return a remedy for a number such as `1,5e-5`, `10,000` or `1e3`; otherwise an empty text."""
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if not isinstance(value, str):
        return ""
    if kind.startswith("int") and re.fullmatch("[0-9]{1,3}(,[0-9]{3})+", value):
        return f"; write {value.replace(',', '')}"
    if kind.startswith("float") and re.fullmatch(f"[+-]?[0-9]*,{_DIGITS}", value):
        return f"; write a decimal point: {value.replace(',', '.')}"
    return ""


def _number(value: Any) -> Any:
    """Return a limit without the decimals that a whole number does not need: pydantic makes 1 a 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
