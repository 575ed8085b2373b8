"""The values that a run's result depends on, and how they differ between two runs."""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from mbert_cli.recipe.section import Section
from mbert_cli.recipe.sections import EncoderSection, Recipe, TaskSection, TrainingSection, as_spec

_LONG_LIST = 12
_DESCRIBING = ("reference", "card")  # sections that do not change the result
SAVING = ("state_every", "keep", "gradient_checkpointing", "track")
"""Keys of `training` that do not change the result."""


def result_spec(recipe: Recipe) -> dict[str, Any]:
    """Return the part of a recipe that a run's result depends on."""
    spec = {key: value for key, value in as_spec(recipe).items() if key not in _DESCRIBING}
    spec["training"] = {key: value for key, value in spec["training"].items() if key not in SAVING}
    # `auto` gives the same rows as `csv`, which was once the default, or rejects the file.
    spec["tasks"] = {
        name: {**task, "quoting": "none" if task["quoting"] == "none" else "csv"}
        for name, task in spec["tasks"].items()
    }
    return spec


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return nested dicts as one dict: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    if isinstance(value, dict):
        return {
            key: leaf for name, each in value.items() for key, leaf in flat(each, f"{path}.{name}".strip(".")).items()
        }
    return {path: value}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between two flat dicts, one sentence each.

    A run of an older version does not know a newer key of the recipe. The default of a new key changes no result, so it
    is no difference.
    """
    changed = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    changed = [key for key in changed if key in then or not _is_default(key, now[key])]
    return [_difference(key, then.get(key), now.get(key)) for key in changed]


# The keys of a section begin with its name; those of a task, with "tasks" and the task's name.
_SECTIONS: dict[tuple[str, int], type[Section]] = {
    ("training", 2): TrainingSection,
    ("tasks", 3): TaskSection,
    ("encoder", 2): EncoderSection,
}


def _is_default(key: str, value: Any) -> bool:
    names = key.split(".")
    field = _SECTIONS.get((names[0], len(names)), Section).model_fields.get(names[-1])
    return field is not None and not field.is_required() and bool(field.default == value)


def _difference(key: str, then: Any, now: Any) -> str:
    """Return the difference between two values; hashes are shortened, and of long lists the first items that differ."""
    if isinstance(then, list) and isinstance(now, list) and max(len(then), len(now)) > _LONG_LIST:
        pairs = enumerate(zip_longest(then, now))
        index, (then, now) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        key = f"{key}[{index}]"
    if all(isinstance(each, str) and re.fullmatch("[0-9a-f]{64}", each) for each in (then, now)):
        then, now = f"{then[:8]}...", f"{now[:8]}..."
    return f"{key} was {then!r} and is now {now!r}"
