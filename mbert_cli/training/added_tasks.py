"""New tasks for a trained model: the procedure of `mbert add-task`.

A new run trains the new tasks on the frozen encoder of the model. The model that it saves also has the tasks of the
first model, byte for byte.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbert_cli.encoder.location import has_weights, own_encoder, referred
from mbert_cli.errors import RecipeError, UsageError
from mbert_cli.messages import nearest
from mbert_cli.model.components import problems
from mbert_cli.model.edit_tasks import all_tasks, write_with_tasks
from mbert_cli.model.model_card import card_facts
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_parts import ModelFiles, TaskFiles
from mbert_cli.model.tensor_files import write_tensors
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.overrides import check_free_to_change, override
from mbert_cli.recipe.reader import apply_settings, validate
from mbert_cli.recipe.sections import EncoderSection, Recipe, as_spec
from mbert_cli.training.checks import reasons_not_to_cache

_SET_HERE = {
    r"encoder(\.(checkpoint|revision|sha256|shape)(\..*)?)?": "mbert add-task trains on the encoder of RUN; remove "
    "this setting, or train all tasks with mbert train."
}


def change(document: Document, settings: Sequence[str]) -> None:
    """Apply the settings of the user to a recipe with new tasks.

    Raises:
        RecipeError: see `apply_settings`; or a setting names another encoder.
    """
    check_free_to_change(settings, _SET_HERE)
    apply_settings(document, settings)


def new_tasks(document: Document, base: ModelFiles, tasks: Sequence[str], encoder: str | None = None) -> Recipe:
    """Return the recipe that trains the new tasks of a document on the frozen encoder of a model.

    Args:
        document: the recipe with the new tasks, with all settings applied; its encoder is replaced.
        base: the model.
        tasks: the tasks of the recipe to train; all if empty.
        encoder: see `encoder_of`.

    Raises:
        CheckpointError: see `encoder_of`.
        RecipeError: the recipe has problems; or see `recipe_of_new_tasks`.
        UsageError: see `encoder_of` and `recipe_of_new_tasks`.
    """
    checkpoint = encoder_of(base, encoder)
    override(document, [f"encoder.checkpoint={json.dumps(checkpoint)}"])
    return recipe_of_new_tasks(validate(document, problems), base, tasks, checkpoint)


def encoder_of(base: ModelFiles, encoder: str | None = None) -> str:
    """Return the checkpoint of the encoder of a model, as a recipe names it.

    Args:
        base: the model.
        encoder: the folder of the encoder that the model refers to, if it was moved.

    Raises:
        CheckpointError: `encoder` is not the encoder of the model.
        UsageError: the model is an ensemble; or `encoder` is given, but the model contains its encoder.
    """
    if base.is_ensemble:
        raise UsageError(
            f"{base.run}: is an ensemble, but mbert add-task needs a single model; add the tasks to a member, such as "
            f"{base.run}/members/1."
        )
    if encoder is None:
        return str(base.run.absolute())
    if has_weights(base.folder / "encoder"):
        raise UsageError(own_encoder(base.run))
    return str(referred(base.folder, base.config, instead=encoder).folder)


def recipe_of_new_tasks(recipe: Recipe, base: ModelFiles, tasks: Sequence[str], encoder: str) -> Recipe:
    """Return the recipe that trains new tasks on the frozen encoder of a model, with its pooling.

    The hidden states of the encoder are cached if the recipe does not forbid it, and the tasks allow it.

    Args:
        recipe: the recipe with the new tasks.
        base: the model.
        tasks: the tasks of the recipe to train; all if empty.
        encoder: the result of `encoder_of`.

    Raises:
        RecipeError: a setting of the recipe would change the encoder, the pooling or the maximum number of tokens.
        UsageError: the recipe has no such task, or the model already has a task of that name.
    """
    _check_tasks(recipe, base, tasks)
    _check_settings(recipe, base)
    chosen = {name: task for name, task in recipe.tasks.items() if not tasks or name in tasks}
    reference = recipe.reference
    if reference is not None:
        scores = {name: score for name, score in reference.scores.items() if name in chosen}
        reference = reference.model_copy(update={"scores": scores}) if scores else None
    new: Recipe = recipe.model_copy(
        update={
            "encoder": EncoderSection(checkpoint=encoder, dropout=recipe.encoder.dropout),
            "pooling": base.section.pooling,
            "tasks": chosen,
            "reference": reference,
            "training": recipe.training.model_copy(
                update={"freeze_encoder": True, "max_length": base.config["max_length"]}
            ),
        }
    )
    if "cache_features" not in _explicit(recipe, "training") and not reasons_not_to_cache(new):
        new = new.model_copy(update={"training": new.training.model_copy(update={"cache_features": True})})
    return new


def _explicit(recipe: Recipe, key: str) -> Mapping[str, Any]:
    """Return the values of a section that the recipe contains, without defaults."""
    section = {} if recipe.document is None else recipe.document.values.get(key)
    return section if isinstance(section, dict) else {}


def _check_tasks(recipe: Recipe, base: ModelFiles, tasks: Sequence[str]) -> None:
    for name in tasks:
        if name not in recipe.tasks:
            raise UsageError(f"-t {name}: the recipe has no task '{name}'{nearest(name, list(recipe.tasks))}")
    for name in tasks or recipe.tasks:
        if name in base.config["tasks"]:
            new = [each for each in recipe.tasks if each not in base.config["tasks"]]
            remedy = f"choose the new ones: -t {' -t '.join(new)}" if new and not tasks else "rename it in the recipe"
            raise UsageError(f"{base.run}: already has a task '{name}'; {remedy}.")


def _check_settings(recipe: Recipe, base: ModelFiles) -> None:
    training, problems = _explicit(recipe, "training"), []
    if training.get("freeze_encoder") is False:
        problems.append(
            f"{recipe.place('training', 'freeze_encoder')} is false, but mbert add-task does not train the encoder; "
            f"remove it, or train all tasks with mbert train and encoder.checkpoint={base.run}."
        )
    if recipe.encoder.reinitialise != 0:
        problems.append(
            f"{recipe.place('encoder', 'reinitialise')} is {recipe.encoder.reinitialise}, but mbert add-task does not "
            "change the encoder; remove it."
        )
    if recipe.training.members > 1:
        problems.append(
            f"{recipe.place('training', 'members')} is {recipe.training.members}, but mbert add-task trains one model; "
            "remove it."
        )
    length = base.config["max_length"]
    if training.get("max_length", length) != length:
        problems.append(
            f"{recipe.place('training', 'max_length')} is {training['max_length']}, but all tasks of {base.run} read "
            f"{length} tokens; remove it, and read longer texts with windows."
        )
    own = base.section.pooling
    if _explicit(recipe, "pooling") and recipe.pooling.spec() != own.spec():
        problems.append(
            f"{recipe.place('pooling')} is {recipe.pooling.describe()}, but all tasks of {base.run} use "
            f"{own.describe()}; remove it."
        )
    if problems:
        raise RecipeError(*problems)


def write_extended(
    folder: Path, base: ModelFiles, model: MultiTaskBert, recipe: Recipe, scores: Mapping[str, Any]
) -> None:
    """Write a model that has the tasks of another model, and new tasks.

    Args:
        folder: an existing, empty folder.
        base: the model whose encoder and tasks are kept.
        model: the new tasks, on the same encoder.
        recipe: their recipe.
        scores: their metrics.
    """
    tasks, training = all_tasks(base), card_facts(recipe, num_members=1)["training"]
    for name in model.task_names:
        file = folder / "tasks" / f"{name}.safetensors"
        write_tensors(file, model.task(name).state_dict())
        tasks[name] = TaskFiles(
            section=as_spec(recipe.tasks[name]),
            adapters=as_spec(recipe.adapters),
            files=[file],
            metrics=dict(scores["tasks"][name]),
            training=training,
            decision=None,
            trained_separately=True,
        )
    write_with_tasks(folder, base, tasks)
