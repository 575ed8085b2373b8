"""What the result of a run depends on, and what has changed when a run is resumed."""

import re
from collections.abc import Mapping
from typing import Any

from mbert_cli.curricula import Curriculum
from mbert_cli.machine.hardware import Hardware
from mbert_cli.machine.versions import versions
from mbert_cli.model.components import component_class
from mbert_cli.recipe.differences import differences, flat, result_spec
from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.datasets import TrainingData


def fingerprint_of(recipe: Recipe, data: TrainingData, hardware: Hardware, encoder: str) -> dict[str, Any]:
    """Return all that the bytes of a run's result follow from: recipe, data, hardware and versions.

    Args:
        recipe: the recipe; what it says of scores to compare with and of saving states is left out.
        data: the examples.
        hardware: what is computed on.
        encoder: the SHA-256 of the weights that the encoder begins with.
    """
    splits = {"train": data.train, "dev": data.dev}
    return {
        **result_spec(recipe),
        "encoder_sha256": encoder,
        "rows": {split: {task: len(each) for task, each in tasks.items()} for split, tasks in splits.items()},
        "data": {split: {task: each.sha256() for task, each in tasks.items()} for split, tasks in splits.items()},
        "hardware": hardware.facts(),
        "versions": versions(),
    }


# What runs were made of before there was a choice.
_LATER = {
    "hardware.kernels": "torch",
    "training.freeze_encoder": False,
    "training.cache_features": False,
    "training.strict_length": False,
    "training.select_after": 0.0,
    "training.layer_decay": 1.0,
    "encoder.reinitialise": 0,
    "encoder.dropout": None,
}
# What the first runs do not tell.
_UNTOLD = ("rows.", "versions.", "hardware.threads", "hardware.instructions")


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two origins, a sentence each."""
    before, after = {**_LATER, **flat(then)}, flat(now)
    for key, value in after.items():
        if key.startswith(_UNTOLD):
            before.setdefault(key, value)
    curriculum: type[Curriculum] = component_class("curricula", now["curriculum"]["kind"])
    annealed = any(task.get("soft_labels") == "annealed" for task in now["tasks"].values())
    knows_the_end = curriculum.knows_the_end or now["training"]["select_after"] > 0 or annealed
    if now["training"]["schedule"] == "constant" and not knows_the_end:
        # Without a schedule, a curriculum or a choice that knows the end, more epochs continue the very same run.
        before.pop("training.epochs")
        after.pop("training.epochs")
    for key in _same_contents(before, after):
        before.pop(key, None)
        after.pop(key, None)
    return differences(before, after)


def _same_contents(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys that say where files are, of files whose contents are the same: a path changes no result."""
    keys = [key for key in after if re.fullmatch(r"tasks\..*\.test", key)]  # no training reads it
    for split in ("train", "dev"):
        for key in [key for key in after if key.startswith(f"data.{split}.")]:
            if before.get(key) == after[key]:
                keys.append(f"tasks.{key.removeprefix(f'data.{split}.')}.{split}")
    if before.get("encoder_sha256") in (None, after["encoder_sha256"]):
        # What the first runs do not tell.
        keys.append("encoder_sha256")
    if before.get("encoder_sha256") == after["encoder_sha256"]:
        keys += [f"encoder.{key}" for key in ("checkpoint", "revision", "sha256")]
    return keys
