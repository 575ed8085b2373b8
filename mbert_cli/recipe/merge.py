"""Merging one document into another: a recipe into the one that it extends, an override into a recipe."""

from typing import Any

from mbert_cli.recipe.document import Document, KeyPath


def merge(base: Document, change: Document) -> None:
    """Merge a document into another, in place.

    Mappings are merged key by key; lists and scalars are replaced. If a mapping changes `kind`, it replaces the whole
    old mapping, because other kinds have other options. Null removes a mapping. A mapping whose keys are indices
    changes single items of a list.
    """
    _merge_places(base, change, base.values, change.values, ())
    base.values = _merged(base.values, change.values)


def expand_kinds(values: dict[str, Any]) -> dict[str, Any]:
    """Expand components that are given as a name only: ``pooling: mean`` becomes ``pooling: {kind: mean}``."""

    def expanded(value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    result = dict(values)
    for key in {"pooling", "loss_balancing", "curriculum"} & values.keys():
        result[key] = expanded(values[key])
    adapters = values.get("adapters")
    if isinstance(adapters, list):
        result["adapters"] = [expanded(item) for item in adapters]
    elif isinstance(adapters, dict) and _changes_items(adapters):
        result["adapters"] = {index: expanded(item) for index, item in adapters.items()}
    if isinstance(values.get("tasks"), dict):
        result["tasks"] = {
            name: {key: expanded(value) if key == "head" else value for key, value in task.items()}
            if isinstance(task, dict)
            else task
            for name, task in values["tasks"].items()
        }
    return result


def _replaces(old: Any, new: Any) -> bool:
    if _changes_items(new):
        return False
    if not isinstance(old, dict) or not isinstance(new, dict):
        return True
    return "kind" in new and new["kind"] != old.get("kind")


def _changes_items(new: Any) -> bool:
    """Whether a value maps indices of a list to changes of its items; `override` has checked that the items exist."""
    return isinstance(new, dict) and any(isinstance(key, int) for key in new)


def _merged(old: Any, new: Any) -> Any:
    if _replaces(old, new):
        return new
    if _changes_items(new):
        return [_merged(item, new[index]) if index in new else item for index, item in enumerate(old)]
    result = dict(old)
    for key, value in new.items():
        if value is None and isinstance(old.get(key), dict):
            del result[key]
        else:
            result[key] = _merged(old.get(key), value)
    return result


def _merge_places(base: Document, change: Document, old: Any, new: Any, path: KeyPath) -> None:
    if _replaces(old, new):
        for each in [each for each in base.places if each[: len(path)] == path]:
            del base.places[each]
        base.places.update({each: place for each, place in change.places.items() if each[: len(path)] == path})
        return
    for key in new:
        below = old[key] if isinstance(key, int) else old.get(key)
        _merge_places(base, change, below, new[key], (*path, key))
