"""The folder of a saved model. Training writes it after an epoch; evaluation and prediction read it without a recipe.

config.json           the sections of the recipe that define the model, its scores, and what the card says about its
                      training. For tasks that were added later: their adapters, if these differ from those of the
                      model, and their training
encoder/              a Hugging Face checkpoint: config.json, tokenizer.json, tokenizer_config.json (with max_length),
                      and model.safetensors if the encoder was trained. Otherwise config.json of the model has the name
                      of the checkpoint, its SHA-256 and, if it is a folder, the relative path
tasks/NAME.safetensors  the adapters and the head of each task. No other file has tensors of the task
members/N/            only in an ensemble: encoder/ and tasks/ of each member. The tokenizer and the encoder's sizes are
                      in encoder/ of the model
README.md             a model card
decisions-*.json      temperatures and cuts between two classes, if `mbert evaluate` fitted them. A new best model has
                      none
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli import __version__
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.checkpoint import load_encoder, read_shape, save_config, save_weights
from mbert_cli.encoder.int8_file import keep_parts, read_parts
from mbert_cli.encoder.location import WEIGHTS, has_weights, is_local, locate, own_encoder, referred, weights_sha256
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.quantisation import int8_parts, quantise
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.messages import nearest
from mbert_cli.model.components import problems
from mbert_cli.model.compose import build_part, build_pooling
from mbert_cli.model.decisions import check_decisions, set_decision
from mbert_cli.model.ensemble import Ensemble
from mbert_cli.model.lazy_model import LazyMultiTaskBert
from mbert_cli.model.model_card import card_facts, model_card
from mbert_cli.model.multi_task_bert import MultiTaskBert, TaskPart
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.model.tensor_files import load_tensors, size_of, write_tensors
from mbert_cli.recipe.sections import ModelSection, Recipe, TaskSection, as_spec
from mbert_cli.storage.atomic import MANIFEST, check_file, check_folder, hashes_in, read_json, sha256_of
from mbert_cli.storage.model_folder import (
    FORMAT,
    check_format,
    committed_model,
    is_of_a_task,
    read_decisions,
    section_of,
)

_TEXTS = 9_000  # bytes of config.json, README.md, the encoder's config.json and the manifest


@dataclass(frozen=True)
class SavedModel:
    """A model with everything that prediction needs.

    Args:
        section: the sections of the recipe that define the model; its tasks name their columns and files.
        model: the model, in evaluation mode, on the CPU.
        tokenizer: the tokenizer of the encoder.
        sha256: SHA-256 of the manifest, which contains the hashes of all files.
    """

    section: ModelSection
    model: SentenceModel
    tokenizer: Tokenizer
    sha256: str

    @property
    def limits(self) -> LengthLimits:
        """The longest texts that the model reads."""
        return LengthLimits.of(self.tokenizer.max_length, self.model.shape.max_positions, self.section.tasks)

    def task(self, name: str) -> TaskSection:
        """Return a task.

        Raises:
            CheckpointError: the model has no such task.
        """
        if name not in self.section.tasks:
            raise CheckpointError(f"the model has no task '{name}'{nearest(name, list(self.section.tasks))}")
        return self.section.tasks[name]


def write_model(
    folder: Path,
    model: SentenceModel,
    recipe: Recipe,
    tokenizer: Tokenizer,
    encoder_changed: bool,
    scores: Mapping[str, Any],
) -> None:
    """Write a model's files.

    Args:
        folder: an existing, empty folder.
        model: the model.
        recipe: the recipe of the training run.
        tokenizer: the tokenizer of the encoder.
        encoder_changed: whether the encoder's weights differ from those of its checkpoint.
        scores: the metrics of the epoch.
    """
    section = {key: as_spec(getattr(recipe, key)) for key in ("encoder", "adapters", "pooling", "tasks")}
    config = {"format": FORMAT, "mbert": __version__, **section, "max_length": tokenizer.max_length}
    (folder / "encoder").mkdir()
    save_config(model.shape, folder / "encoder")
    tokenizer.save(folder / "encoder", has_types=model.shape.type_vocab_size > 1)
    weights = None if encoder_changed else locate(recipe.encoder.checkpoint, recipe.encoder.revision, download=False)
    if weights is not None:
        config["encoder_sha256"] = weights_sha256(weights)
        if is_local(recipe.encoder.checkpoint) and not recipe.encoder.checkpoint.startswith("package:"):
            # This path stays correct if a project is moved as a whole.
            config["encoder_path"] = os.path.relpath(os.path.realpath(weights), os.path.realpath(folder))
    if isinstance(model, Ensemble):
        config["members"] = len(model.members())
    for place, each in _places(folder, model):
        if weights is None:
            (place / "encoder").mkdir(parents=True, exist_ok=True)
            save_weights(each.encoder, place / "encoder")
        for name in each.task_names:
            write_tensors(place / "tasks" / f"{name}.safetensors", each.task(name).state_dict())
    config["scores"] = scores
    config["card"] = card_facts(recipe, len(model.members()))
    write_texts(folder, config, recipe)


def write_texts(folder: Path, config: Mapping[str, Any], section: ModelSection) -> None:
    """Write config.json and README.md of a model.

    Args:
        folder: the folder of the model.
        config: the content of config.json.
        section: the sections of the recipe that define the model.
    """
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(section, config), encoding="utf-8")


def model_size(model: MultiTaskBert, tokenizer: Tokenizer, encoder_changed: bool) -> int:
    """Return the approximate number of bytes that `write_model` writes for the same arguments."""
    return tokenizer.file_size() + _TEXTS + weights_size(model, encoder_changed)


def weights_size(model: MultiTaskBert, encoder_changed: bool) -> int:
    """Return the number of bytes of the weights that `write_model` writes."""
    encoder = size_of(model.encoder.parameters()) if encoder_changed else 0
    return encoder + sum(size_of(model.task(name).state_dict().values()) for name in model.task_names)


def _places(folder: Path, model: SentenceModel) -> list[tuple[Path, MultiTaskBert]]:
    """Return the folders of the weights of each member, with the member."""
    if isinstance(model, MultiTaskBert):
        return [(folder, model)]
    return [(_member(folder, number), each) for number, each in enumerate(model.members(), 1)]


def _member(folder: Path, number: int) -> Path:
    return folder / "members" / str(number)


def read_model(run: Path, encoder: str | Path | None = None, int8: bool = False, mapped: bool = False) -> SavedModel:
    """Read the best model of a run. The adapters and the head of a task are read when they are first used.

    Args:
        run: a run folder, or the folder of a saved model.
        encoder: the folder of the encoder that the model refers to, if it was moved; its SHA-256 must be the same.
        int8: quantise the encoder. The weights in int8 are kept in the folder of the model, if it can be written.
        mapped: map the files of the encoder into memory; see `load_encoder`. int8 always maps them.

    Raises:
        CheckpointError: there is no model, or its files were altered or do not fit each other; for the file of a task,
            at its first use.
        UsageError: `encoder` is given, but the model contains its encoder.
    """
    folder = committed_model(run)
    hashes = check_folder(folder, later=is_of_a_task)
    config = read_json(folder / "config.json")
    check_format(folder, config)
    section = section_of(config, folder, problems)
    decisions = read_decisions(folder)
    check_decisions(folder, decisions, section.tasks)
    count = config.get("members")
    places = [folder] if count is None else [_member(folder, number) for number in range(1, int(count) + 1)]
    weights = [next((each for each in (place, folder) if has_weights(each / "encoder")), None) for place in places]
    if None in weights:
        shared = referred(folder, config, instead=encoder).folder
    elif encoder is not None:
        raise UsageError(own_encoder(run))
    models = [
        _read_member(
            _Files(folder, place, section, hashes, decisions), shared if own is None else own / "encoder", int8, mapped
        )
        for place, own in zip(places, weights, strict=True)
    ]
    model: SentenceModel = models[0] if count is None else Ensemble(models)
    tokenizer = Tokenizer(folder / "encoder", int(config["max_length"]))
    return SavedModel(section, model.eval(), tokenizer, sha256_of(folder / MANIFEST))


@dataclass(frozen=True)
class _Files:
    """The files of a model, or of a member of an ensemble.

    Args:
        folder: the folder of the saved model.
        place: the folder that contains `tasks/`.
        section: the sections of the recipe that define the model.
        hashes: the SHA-256 of each file, as they were when the model was opened.
        decisions: the temperatures and cuts of each task.
    """

    folder: Path
    place: Path
    section: ModelSection
    hashes: Mapping[str, str]
    decisions: Mapping[str, Any]

    def read_task(self, name: str, shape: EncoderShape) -> TaskPart:
        """Read the adapters and the head of a task."""
        path = self.place / "tasks" / f"{name}.safetensors"
        file = path.relative_to(self.folder).as_posix()
        if file not in self.hashes:
            raise CheckpointError(f"{path}: is missing; copy the folder again, or train again.")
        self._check_in_place(name, file)
        check_file(path, self.hashes[file])
        part = build_part(self.section, name, shape, None, seed=0)
        load_tensors(part, path)
        set_decision(self.folder, name, part.head, self.decisions)
        return part

    def _check_in_place(self, task: str, file: str) -> None:
        """Check that a task's file has the same hash in the manifest as when the model was opened.

        Raises:
            CheckpointError: the model was moved, removed or replaced, or the manifest was altered.
        """
        sha256 = hashes_in(self.folder).get(file) if (self.folder / MANIFEST).exists() else None
        if sha256 != self.hashes[file]:
            raise CheckpointError(
                f"{self.folder}: was moved, removed or replaced after it was opened, and task {task} was not read "
                "yet; open the model again."
            )

    def read_encoder(self, weights: Path, shape: EncoderShape, int8: bool, mapped: bool) -> PackedEncoder:
        """Read the encoder; in int8, quantise it or read what an earlier call kept.

        Args:
            weights: the folder of the encoder's weights.
            shape: the encoder's sizes.
            int8: whether the encoder is quantised.
            mapped: whether the file is mapped into memory.
        """
        if not int8:
            return load_encoder(weights, shape, mapped=mapped)[0]
        own = weights / WEIGHTS
        known = self.hashes.get(own.relative_to(self.folder).as_posix()) if own.is_relative_to(self.folder) else None
        source = known or weights_sha256(weights)
        parts = read_parts(self.place, source)
        if parts is not None:
            return load_encoder(weights, shape, int8=parts, mapped=True)[0]
        encoder = quantise(load_encoder(weights, shape, mapped=True)[0])
        keep_parts(self.place, source, int8_parts(encoder))
        return encoder


def _read_member(files: _Files, weights: Path, int8: bool, mapped: bool) -> MultiTaskBert:
    """Read a model, or a member of an ensemble; `weights` is the folder of the encoder's weights."""
    shape = read_shape(files.folder / "encoder")
    encoder = files.read_encoder(weights, shape, int8, mapped)
    pooling = build_pooling(files.section, encoder)
    names = list(files.section.tasks)
    return LazyMultiTaskBert(encoder, pooling, names, lambda name: files.read_task(name, shape))
