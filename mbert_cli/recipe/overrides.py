"""Overrides from the command line: `key=value` settings that change a recipe."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbert_cli.errors import RecipeError
from mbert_cli.recipe.document import Document, KeyPath, Place, dotted
from mbert_cli.recipe.limits import MAX_DEPTH, TOO_DEEP
from mbert_cli.recipe.merge import expand_kinds, merge
from mbert_cli.recipe.yaml_text import parse

_HASH = "\ufdd0"  # stands for # while an override is parsed; Unicode reserves it for internal use


def override(document: Document, settings: Sequence[str], written: Sequence[Place] = ()) -> None:
    """Apply `key=value` settings from the command line, e.g. ``training.epochs=3`` or ``adapters[0].rank=8``.

    The value is YAML without comments: `#` is an ordinary character. A relative path in it refers to the working
    folder, or to the folder of the file that contains the setting.

    Args:
        document: the document that is changed.
        settings: the settings.
        written: the place of each setting, if they come from a file.

    Raises:
        RecipeError: a setting has no `=`, its value is not YAML, or its index is beyond the end of the list.
    """
    for index, setting in enumerate(settings):
        place = Place(f"'{setting}'", Path.cwd())
        if written:
            place = Place(f"{written[index]}: {place}", written[index].folder)
        path, text = _split(setting, place)
        _check_indices(document.values, path, place)
        parsed = parse(f"value: {text.replace('#', _HASH)}", place.text, place.folder).values
        if parsed.keys() != {"value"}:
            raise RecipeError(f"{place}: an override must have one value.")
        change: Any = _with_hashes(parsed["value"])
        for part in reversed(path):
            change = {part: change}  # an index becomes a mapping that changes one item of a list
        change = expand_kinds(change)
        places: dict[KeyPath, Place] = {}
        _mark(places, change, (), place)
        merge(document, Document(change, places, place.text, place.folder))


def check_free_to_change(settings: Sequence[str], reserved: Mapping[str, str]) -> None:
    """Check that no setting changes a value that the command itself sets.

    Args:
        settings: `key=value` overrides.
        reserved: regular expressions of the keys that the command sets; for each, the end of the message: the reason,
            and what the user can do instead.

    Raises:
        RecipeError: a setting changes such a value.
    """
    problems = []
    for setting in settings:
        key = setting.partition("=")[0]
        problems += [f"'{setting}': {why}" for keys, why in reserved.items() if re.fullmatch(keys, key)]
    if problems:
        raise RecipeError(*problems)


def _split(setting: str, place: Place) -> tuple[KeyPath, str]:
    """Return the path and the text of the value of a setting."""
    key, equals, text = setting.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+|\[[0-9]{1,9}\])*", key):
        raise RecipeError(f"{place}: an override has the form key=value, such as training.epochs=3.")
    words = re.findall(r"[A-Za-z0-9_-]+|\[[0-9]+\]", key)
    if len(words) > MAX_DEPTH:
        raise RecipeError(f"{place}: {TOO_DEEP}")
    return tuple(int(word[1:-1]) if word[0] == "[" else word for word in words), text


def _with_hashes(value: Any) -> Any:
    """Return a value of an override with the # that were replaced while it was parsed."""
    if isinstance(value, str):
        return value.replace(_HASH, "#")
    if isinstance(value, list):
        return [_with_hashes(each) for each in value]
    if isinstance(value, dict):
        return {_with_hashes(key): _with_hashes(each) for key, each in value.items()}
    return value


def _check_indices(values: Any, path: KeyPath, place: Place) -> None:
    for depth, part in enumerate(path):
        if isinstance(part, int) and not (isinstance(values, list) and part < len(values)):
            what = f"has {len(values)} items" if isinstance(values, list) else "is not a list"
            raise RecipeError(f"{place}: {dotted(path[:depth])} {what}, so there is no {dotted(path[: depth + 1])}.")
        values = values[part] if isinstance(part, int) else values.get(part) if isinstance(values, dict) else None


def _mark(places: dict[KeyPath, Place], value: Any, path: KeyPath, place: Place) -> None:
    """Record the same place for a value and all values in it."""
    places[path] = place
    if isinstance(value, dict):
        for key, below in value.items():
            _mark(places, below, (*path, key), place)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            _mark(places, below, (*path, index), place)
