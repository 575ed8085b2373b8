"""Adapters and heads that start with the values of another run: `training.start_from`.

Tasks with the same name in both runs take over their parameters. Buffers, such as class weights, are computed from the
training data of the new run, as usual. After the first saved state, the other run is not needed any more.
"""

from pathlib import Path
from typing import Any

import torch

from mbert_cli.data.labels import NamedLabels
from mbert_cli.encoder.location import find_encoder, weights_sha256
from mbert_cli.errors import CheckpointError, MbertError, RecipeError
from mbert_cli.model.components import build_labels
from mbert_cli.model.multi_task_bert import MultiTaskBert, TaskPart
from mbert_cli.model.tensor_files import read_tensors
from mbert_cli.recipe.sections import ModelSection, Recipe
from mbert_cli.storage.atomic import read_json, sha256_of
from mbert_cli.storage.model_folder import model_folder, model_section
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console


def check_start(recipe: Recipe) -> None:
    """Check the run that a recipe starts from. Its weights are not read.

    Raises:
        RecipeError: it has no model, or no task of the recipe; or adapters, heads or labels differ.
    """
    if problems := start_problems(recipe):
        raise RecipeError(*problems)


def start_problems(recipe: Recipe) -> list[str]:
    """Return the problems that `check_start` reports."""
    run = recipe.training.start_from
    if run is None:
        return []
    place = recipe.place("training", "start_from")
    try:
        section = model_section(Path(run))
    except MbertError as error:
        return [f"{place}: {problem}" for problem in error.problems]
    shared = _shared(recipe, section)
    if not shared:
        names = ", ".join(section.tasks)
        return [f"{place} is {run}, which has no task of this recipe, only {names}; rename a task, or remove the key."]
    return [problem for name in shared for problem in _task_problems(name, recipe, section, run)]


def _task_problems(name: str, recipe: Recipe, section: ModelSection, run: str) -> list[str]:
    ours, theirs = recipe.tasks[name].head, section.tasks[name].head
    place, remedy = recipe.place("tasks", name, "head"), "rename the task, or remove training.start_from"
    if ours.kind != theirs.kind:
        return [f"{place} is {ours.kind}, but task {name} of {run} has the head {theirs.kind}; {remedy}."]
    adapters, others = (" + ".join(each.kind for each in one.adapters_of(name)) or "none" for one in (recipe, section))
    if adapters != others:
        what = f"are {adapters}, but task {name} of {run} has {others}"
        return [f"{recipe.place('adapters')} {what}; use the same kinds, or remove training.start_from."]
    own, other = build_labels(ours), build_labels(theirs)
    if isinstance(own, NamedLabels) and isinstance(other, NamedLabels) and own.texts != other.texts:
        return [f"{place} has the labels {own.known()}, but task {name} of {run} has {other.known()}; {remedy}."]
    return []


def start_from_run(recipe: Recipe, model: MultiTaskBert, encoder: Path, console: Console) -> dict[str, str]:
    """Load adapters and heads from the run that a recipe starts from, if it starts from one.

    Args:
        recipe: the recipe.
        model: the model; its parameters change.
        encoder: the folder of the encoder that training starts from.
        console: where the tasks are printed.

    Returns:
        The SHA-256 of each task's file, for the fingerprint.

    Raises:
        CheckpointError: the model of the run was altered, or is an ensemble.
        RecipeError: shapes differ.
    """
    if recipe.training.start_from is None:
        return {}
    check_start(recipe)
    run = Path(recipe.training.start_from)
    folder = model_folder(run)
    if "members" in read_json(folder / "config.json"):
        raise CheckpointError(f"{run}: is an ensemble; start from one of its members, such as {run}/members/1.")
    shared = _shared(recipe, model_section(run))
    hashes = {}
    for name in shared:
        file = folder / "tasks" / f"{name}.safetensors"
        hashes[name] = sha256_of(file)
        _load(model.task(name), file, f"{recipe.place('training', 'start_from')}: task {name}")
    others = [name for name in recipe.tasks if name not in shared]
    new = f"; new: {', '.join(others)}" if others else ""
    console.info(f"adapters and heads of {run}: {', '.join(shared)}{new}")
    if weights_sha256(encoder) != weights_sha256(find_encoder(str(run.absolute())).folder):
        console.note(
            f"the adapters and heads of {run} were trained with another encoder; encoder.checkpoint={run} starts from "
            "that one, too"
        )
    return hashes


def recorded_start(folder: RunFolder) -> dict[str, str] | None:
    """Return the hashes that `start_from_run` returned when a run started; None if no state was saved yet."""
    newest, _ = folder.newest_state()
    if newest is None:
        return None
    origin: dict[str, Any] = read_json(newest / "state.json")["origin"]
    return dict(origin.get("start_sha256", {}))


def _shared(recipe: Recipe, section: ModelSection) -> list[str]:
    return [name for name in recipe.tasks if name in section.tasks]


def _load(part: TaskPart, file: Path, place: str) -> None:
    tensors, parameters = read_tensors(file), dict(part.named_parameters())
    wrong = [f"{name} is missing" for name in parameters if name not in tensors]
    wrong += [
        f"{name} is {list(tensors[name].shape)}, expected {list(value.shape)}"
        for name, value in parameters.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise RecipeError(f"{place} does not fit: {'; '.join(wrong[:3])}{more}; use the same sizes in the recipe.")
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(tensors[name])
