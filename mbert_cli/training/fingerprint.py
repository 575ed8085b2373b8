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


def fingerprint_of(
    recipe: Recipe, data: TrainingData, hardware: Hardware, encoder: str, processes: int = 1
) -> dict[str, Any]:
    """Return everything that the bytes of a run's result depend on: recipe, data, hardware and versions.

    Args:
        recipe: the recipe. Keys that do not change the result, such as `state_every`, are not included.
        data: the examples.
        hardware: the hardware.
        encoder: SHA-256 of the weights that the encoder starts from.
        processes: number of processes that train together.
    """
    splits = {"train": data.train, "dev": data.dev}
    return {
        **result_spec(recipe),
        "encoder_sha256": encoder,
        "rows": {split: {task: len(each) for task, each in tasks.items()} for split, tasks in splits.items()},
        "data": {split: {task: each.sha256() for task, each in tasks.items()} for split, tasks in splits.items()},
        "hardware": {**hardware.facts(), "processes": processes},
        "versions": versions(),
        "dropout": "keyed",  # states without this key are older: their steps drew other masks
    }


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between two fingerprints that can change the result, one phrase each."""
    before, after = flat(then), flat(now)
    ignored = moved_files(before, after)
    # A state contains what a run has taken over from another one.
    ignored += [key for key in {**before, **after} if key.startswith("start_sha256")]
    # A run that goes on for longer takes the same steps.
    ignored += ["training.patience", "training.max_time"]
    if not _depends_on_epochs(now):
        ignored += ["training.epochs", "training.max_steps"]
    for key in ignored:
        before.pop(key, None)
        after.pop(key, None)
    return differences(before, after)


def _depends_on_epochs(fingerprint: Mapping[str, Any]) -> bool:
    """Whether an epoch depends on the number of epochs of the run. If not, a run can be resumed with more epochs."""
    curriculum: type[Curriculum] = component_class("curricula", fingerprint["curriculum"]["kind"])
    training = fingerprint["training"]
    annealed = any(task.get("soft_labels") == "annealed" for task in fingerprint["tasks"].values())
    return training["schedule"] != "constant" or training["select_after"] > 0 or curriculum.knows_the_end or annealed


def moved_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys with paths of files whose content is the same: a path alone does not change the result."""
    keys = [key for key in after if re.fullmatch(r"tasks\..*\.test", key)]  # training does not read test files
    for split in ("train", "dev"):
        for key in [key for key in after if key.startswith(f"data.{split}.")]:
            if before.get(key) == after[key]:
                keys.append(f"tasks.{key.removeprefix(f'data.{split}.')}.{split}")
    if before.get("encoder_sha256") == after["encoder_sha256"]:
        keys += [f"encoder.{key}" for key in ("checkpoint", "revision", "sha256")]
    return keys
