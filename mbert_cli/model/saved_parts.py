"""A saved model as files: its tasks, each with its tensors and its settings, and the encoder that they share.

The commands that add, copy, rename and remove tasks work with these files. They load no weights.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mbert_cli.encoder.location import has_weights, weights_sha256
from mbert_cli.errors import CheckpointError
from mbert_cli.messages import nearest
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.atomic import DECISIONS, MANIFEST, amendment, check_folder, read_json, sha256_of
from mbert_cli.storage.model_folder import TASK_ADAPTERS, check_format, committed_model, is_of_a_task, section_of

TOKENIZER = "encoder/tokenizer.json"


@dataclass(frozen=True)
class TaskFiles:
    """A task of a saved model, or of a task folder.

    Args:
        section: its section of the recipe, as JSON.
        adapters: its adapters, as in a recipe.
        files: the file with its tensors; for an ensemble, that of each member.
        metrics: its metrics on dev.
        training: what a card says about its training, one line each.
        decision: its temperature and cuts; None if they were not fitted.
        is_apart: whether it was trained apart from the model.
    """

    section: dict[str, Any]
    adapters: list[dict[str, Any]]
    files: list[Path]
    metrics: dict[str, Any]
    training: list[str]
    decision: dict[str, Any] | None
    is_apart: bool

    def num_parameters(self) -> int:
        """Return the number of values in the tensors of the task, of all members together."""
        return sum(map(_num_values, self.files))


@dataclass(frozen=True)
class ModelFiles:
    """A saved model.

    Args:
        run: the run or the model, as the user wrote it.
        folder: the folder of the model.
        config: its config.json.
        hashes: the SHA-256 of each file.
        sha256: the SHA-256 of the manifest, which contains these hashes.
    """

    run: Path
    folder: Path
    config: dict[str, Any]
    hashes: Mapping[str, str]
    sha256: str

    @classmethod
    def of(cls, run: Path, with_tasks: bool = True) -> "ModelFiles":
        """Open a saved model.

        Args:
            run: a run folder, or the folder of a saved model.
            with_tasks: check the hashes of the tasks' files, too.

        Raises:
            CheckpointError: there is no model, or a file was altered.
        """
        folder = committed_model(run)
        hashes = check_folder(folder, later=lambda name: not with_tasks and is_of_a_task(name))
        config = read_json(folder / "config.json")
        check_format(folder, config)
        return cls(run, folder, config, hashes, sha256_of(folder / MANIFEST))

    @cached_property
    def section(self) -> ModelSection:
        """The sections of the recipe that define the model."""
        return section_of(self.config, self.folder, lambda *_: [])

    @property
    def task_names(self) -> list[str]:
        """The names of the tasks."""
        return list(self.config["tasks"])

    @property
    def places(self) -> list[str]:
        """The folder of each member of an ensemble, relative to that of the model; one empty name otherwise."""
        count = self.config.get("members")
        return [""] if count is None else [f"members/{number}/" for number in range(1, int(count) + 1)]

    @cached_property
    def encoders(self) -> list[str]:
        """The SHA-256 of the encoder's weights, for each member of an ensemble."""
        return [self._encoder_of(self.folder / place) for place in self.places]

    def _encoder_of(self, place: Path) -> str:
        own = next((each / "encoder" for each in (place, self.folder) if has_weights(each / "encoder")), None)
        known = self.config.get("encoder_sha256") if own is None else weights_sha256(own)
        if not isinstance(known, str):
            raise CheckpointError(f"{self.folder / 'config.json'}: has no encoder_sha256; copy the folder again.")
        return known

    @property
    def tokenizer(self) -> str:
        """The SHA-256 of the tokenizer."""
        return self.hashes[TOKENIZER]

    @property
    def decisions(self) -> dict[str, Any]:
        """The temperatures and cuts of each task for which they were fitted."""
        path = amendment(self.folder, DECISIONS)
        return {} if path is None else read_json(path)["tasks"]

    def check_unchanged(self) -> None:
        """Check that no other command has replaced the model since it was opened.

        Raises:
            CheckpointError: one has.
        """
        manifest = self.folder / MANIFEST
        if not manifest.is_file() or sha256_of(manifest) != self.sha256:
            raise CheckpointError(f"{self.run}: another command has changed its model; start again with --force.")

    def check_task(self, name: str) -> None:
        """Check that the model has a task.

        Raises:
            CheckpointError: it has not.
        """
        if name not in self.config["tasks"]:
            raise CheckpointError(f"{self.run}: has no task '{name}'{nearest(name, self.task_names)}")

    def task(self, name: str) -> TaskFiles:
        """Return a task.

        Raises:
            CheckpointError: there is no such task.
        """
        self.check_task(name)
        config, added = self.config, self.config.get("added", {}).get(name)
        card = config.get("card", {}) if added is None else added
        return TaskFiles(
            section=config["tasks"][name],
            adapters=config.get(TASK_ADAPTERS, {}).get(name, config["adapters"]),
            files=[self.folder / f"{place}tasks/{name}.safetensors" for place in self.places],
            metrics=config["scores"]["tasks"].get(name, {}),
            training=list(card.get("training", [])),
            decision=self.decisions.get(name),
            is_apart=added is not None,
        )


def _num_values(path: Path) -> int:
    """Return the number of values in a safetensors file, from its header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            size = 1
            for width in tensor["shape"]:
                size *= width
            total += size
    return total
