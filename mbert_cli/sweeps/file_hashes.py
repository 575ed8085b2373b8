"""Hashes of the files that a run reads: they show that a file was moved, or that its contents have changed.

A run is described by flat recipe keys, such as `tasks.mood.train`. If the hash of a file is known, it describes the
file better than its path does.

Must not import torch: fast start-up.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mbert_cli.encoder.location import is_local, locate, weights_sha256
from mbert_cli.errors import CheckpointError
from mbert_cli.recipe.differences import differences, flat, result_spec
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import sha256_of

_CHECKPOINT = "encoder.checkpoint"


class FileHashes:
    """Computes the hashes of the files that recipes name; each file is read once."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def of(self, recipe: Recipe) -> dict[str, str]:
        """Return the SHA-256 of each file that a training run reads, by recipe key.

        Keys: `tasks.NAME.train`, `tasks.NAME.dev`, and `encoder.checkpoint` for the encoder's weights. Data sets and
        encoders on the hub, encoders in packages, and files that cannot be read are left out.
        """
        hashes = {
            f"tasks.{name}.{split}": self._once(path, lambda path: sha256_of(Path(path)))
            for name, task in recipe.tasks.items()
            for split, path in (("train", task.train), ("dev", task.dev))
            if os.path.isfile(path)
        }
        checkpoint = recipe.encoder.checkpoint
        if is_local(checkpoint) and not checkpoint.startswith("package:"):
            hashes[_CHECKPOINT] = self._once(checkpoint, lambda path: weights_sha256(locate(path, download=False)))
        return {key: value for key, value in hashes.items() if value is not None}

    def _once(self, path: str, compute: Callable[[str], str]) -> str | None:
        if path not in self._known:
            try:
                self._known[path] = compute(path)
            except (OSError, CheckpointError):
                self._known[path] = None
        return self._known[path]


def identity(recipe: Recipe, hashes: Mapping[str, str] | None = None) -> str:
    """Return a text that is equal for equal runs.

    Args:
        recipe: the recipe of the run.
        hashes: hashes of its files, which replace the paths.
    """
    return json.dumps({**_description(recipe), **(hashes or {})}, sort_keys=True)


def changes(then: Recipe, old: Mapping[str, str], now: Recipe, new: Mapping[str, str]) -> list[str]:
    """Return what differs between two runs, one sentence each.

    A path may differ if the contents of the file are the same.

    Args:
        then: the earlier recipe.
        old: the hashes of its files.
        now: the later recipe.
        new: the hashes of its files.
    """
    before, after = _description(then), _description(now)
    changed = []
    for key in old.keys() & new.keys():
        if old[key] == new[key]:
            before.pop(key, None)
            after.pop(key, None)
        elif before.get(key) == after.get(key):
            changed.append(f"the contents of {key} ({after[key]}) have changed")
    return [*differences(before, after), *sorted(changed)]


def _description(recipe: Recipe) -> dict[str, Any]:
    """Return everything that affects a run's result; test files do not."""
    tests = {f"tasks.{name}.test" for name in recipe.tasks}
    return {key: value for key, value in flat(result_spec(recipe)).items() if key not in tests}
