"""A saved model as files: the tensors and settings of each task, and the encoder that they share.

The commands that add, copy, rename and remove tasks use these files. They do not load weights.
"""

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mbert_cli.encoder.location import has_weights, weights_sha256
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.messages import nearest
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.atomic import MANIFEST, check_folder, read_json, sha256_of
from mbert_cli.storage.model_folder import (
    TASK_ADAPTERS,
    check_format,
    committed_model,
    is_of_a_task,
    read_decisions,
    section_of,
)
from mbert_cli.storage.output_folder import check_not_in_use

TOKENIZER = "encoder/tokenizer.json"


@dataclass(frozen=True)
class TaskFiles:
    """A task of a saved model, or of a task folder.

    Args:
        section: its section of the recipe, as JSON.
        adapters: its adapters, as in a recipe.
        files: the file with its tensors; for an ensemble, one file for each member.
        metrics: its metrics on dev.
        training: how it was trained, as lines of the model card.
        decision: its temperature and cuts; None if they were not fitted.
        trained_separately: whether it was trained after the model, or in another run.
    """

    section: dict[str, Any]
    adapters: list[dict[str, Any]]
    files: list[Path]
    metrics: dict[str, Any]
    training: list[str]
    decision: dict[str, Any] | None
    trained_separately: bool

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
    def is_ensemble(self) -> bool:
        """Whether the model is an ensemble."""
        return "members" in self.config

    @property
    def member_prefixes(self) -> list[str]:
        """The folder of each member of an ensemble, relative to the model, such as `members/1/`; otherwise `[""]`."""
        count = self.config.get("members")
        return [""] if count is None else [f"members/{number}/" for number in range(1, int(count) + 1)]

    @cached_property
    def encoder_hashes(self) -> list[str]:
        """The SHA-256 of the encoder's weights; for an ensemble, one for each member."""
        return [self._encoder_hash(self.folder / prefix) for prefix in self.member_prefixes]

    def _encoder_hash(self, place: Path) -> str:
        own = next((each / "encoder" for each in (place, self.folder) if has_weights(each / "encoder")), None)
        sha256 = self.config.get("encoder_sha256") if own is None else weights_sha256(own)
        if not isinstance(sha256, str):
            raise CheckpointError(f"{self.folder / 'config.json'}: has no encoder_sha256; copy the folder again.")
        return sha256

    def encoder_path_from(self, folder: Path) -> str:
        """Return `encoder_path` of config.json, the path of an encoder outside the model, relative to another folder.

        It is relative, so that it stays correct if a project is moved as a whole.
        """
        encoder = os.path.normpath(os.path.realpath(self.folder) + os.sep + str(self.config["encoder_path"]))
        return os.path.relpath(encoder, os.path.realpath(folder))

    @property
    def tokenizer_hash(self) -> str:
        """The SHA-256 of the tokenizer."""
        return self.hashes[TOKENIZER]

    @property
    def decisions(self) -> dict[str, Any]:
        """The temperatures and cuts of each task for which they were fitted."""
        return read_decisions(self.folder)

    def check_unchanged(self) -> None:
        """Check that no other command has replaced the model since it was opened.

        Raises:
            CheckpointError: one has.
        """
        manifest = self.folder / MANIFEST
        if not manifest.is_file() or sha256_of(manifest) != self.sha256:
            raise CheckpointError(
                f"{self.run}: another command has changed its model; run this command again, with --force if its "
                "output exists."
            )

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
            files=[self.folder / f"{prefix}tasks/{name}.safetensors" for prefix in self.member_prefixes],
            metrics=config["scores"]["tasks"].get(name, {}),
            training=list(card.get("training", [])),
            decision=self.decisions.get(name),
            trained_separately=added is not None,
        )


def model_to_extend(run: Path, output: Path | None) -> ModelFiles:
    """Open the saved model that a new run adds tasks to.

    Args:
        run: a run folder, or the folder of a saved model.
        output: the folder of the new run; None if nothing is written.

    Raises:
        CheckpointError: there is no model, or a file was altered.
        RunInUseError: another process uses a run that contains the folder of the new run.
        UsageError: the folder of the new run is that of the model or of its run.
    """
    base = ModelFiles.of(run)
    if output is not None:
        _check_new_run(base, output)
    return base


def _check_new_run(base: ModelFiles, output: Path) -> None:
    if output.resolve() in (base.folder.resolve(), base.folder.resolve().parent):
        raise UsageError(f"{output}: is RUN itself; choose another -o.")
    check_not_in_use(output)


def _num_values(path: Path) -> int:
    """Return the number of values in a safetensors file, from its header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    shapes: list[list[int]] = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    return sum(math.prod(shape) for shape in shapes)
