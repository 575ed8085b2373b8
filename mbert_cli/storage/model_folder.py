"""The saved model of a run: where it is, and what its config.json says.

Must not import torch: fast start-up.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbert_cli.errors import CheckpointError, MbertError, RecipeError
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.reader import ComponentCheck, Reader, validate
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.atomic import DECISIONS, MANIFEST, amendment, check_folder, committed, read_json
from mbert_cli.storage.run_folder import RunFolder, run_below

FORMAT = 1
"""The format of a saved model, in its config.json."""
TASK_ADAPTERS = "task_adapters"
"""The key of config.json that contains the adapters of single tasks."""
TASK_FORMAT = "mbert-task"
"""The format of a task folder; see `model/task_folder.py`."""


def model_folder(path: Path) -> Path:
    """Return the folder of a saved model, after a check of its hashes.

    Args:
        path: a run folder, or the folder of a saved model itself.

    Raises:
        CheckpointError: there is no model, or one of its files was altered.
    """
    folder = committed_model(path)
    check_folder(folder)
    return folder


def is_of_a_task(name: str) -> bool:
    """Whether a file of a saved model, given its name in the manifest, contains the tensors of one task."""
    return re.fullmatch(r"(members/[0-9]+/)?tasks/[^/]+\.safetensors", name) is not None


def model_section(path: Path) -> ModelSection:
    """Return what a saved model consists of. Neither hashes nor components are checked.

    Args:
        path: see `model_folder`.

    Raises:
        CheckpointError: there is no model, or its config.json cannot be read.
        RecipeError: config.json contains a value that is not allowed in a recipe.
    """
    folder = committed_model(path)
    try:
        config = read_json(folder / "config.json")
        check_format(folder, config)
        return section_of(config, folder, lambda *_: [])
    except MbertError:
        check_folder(folder)  # if a file was altered, this error names it
        raise


def check_format(folder: Path, config: Mapping[str, Any]) -> None:
    """Check that a folder is a saved model, and that this version can read it.

    Args:
        folder: the folder.
        config: the content of its config.json.

    Raises:
        CheckpointError: it is not, or it cannot.
    """
    if config.get("format") == TASK_FORMAT:
        raise CheckpointError(f"{folder}: is the folder of one task; add it to a model with mbert tasks import.")
    if config.get("format") != FORMAT:
        from importlib.metadata import version  # here, because the import is slow

        raise CheckpointError(
            f"{folder / 'config.json'}: has format {config.get('format')!r}, but this mbert ({version('mbert-cli')}) "
            f"reads format {FORMAT}; use the mbert that wrote it."
        )


def is_model_folder(folder: Path) -> bool:
    """Whether a folder contains a saved model. Neither its hashes nor its settings are checked."""
    config = folder / "config.json"
    return (folder / MANIFEST).is_file() and config.is_file() and read_json(config).get("format") == FORMAT


def read_decisions(folder: Path) -> dict[str, Any]:
    """Return the fitted temperatures and cuts of each task of a saved model; empty if nothing was fitted."""
    path = amendment(folder, DECISIONS)
    tasks = {} if path is None else read_json(path).get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def fitted_tasks(run: RunFolder) -> list[str]:
    """Return the tasks whose threshold or temperature was fitted after training."""
    folder = committed(run.model)
    tasks = {} if folder is None else read_decisions(folder)
    return [name for name, each in tasks.items() if each.get("criterion") or each.get("temperature", 1.0) != 1.0]


def section_of(config: Mapping[str, Any], folder: Path, check: ComponentCheck) -> ModelSection:
    """Return what a saved model consists of.

    Args:
        config: the content of its config.json.
        folder: the folder of that file.
        check: returns the problems of a component.

    Raises:
        RecipeError: with all problems.
    """
    place, below = str(folder / "config.json"), folder.resolve()
    values = {key: config.get(key) for key in ("encoder", "adapters", "pooling", "tasks")}
    section = validate(Document(values, {}, place, below), check)
    reader = Reader(Document({TASK_ADAPTERS: config.get(TASK_ADAPTERS)}, {}, place, below), check)
    adapters = {name: reader.adapters((TASK_ADAPTERS, name)) for name in config.get(TASK_ADAPTERS) or {}}
    if reader.problems:
        raise RecipeError(*reader.problems)
    return section.model_copy(update={TASK_ADAPTERS: adapters})


def model_place(path: Path) -> Path:
    """Return the folder in which a saved model belongs. A crash may have left the model itself beside it.

    Args:
        path: a run folder, or the folder of a saved model itself.
    """
    model = RunFolder(path).model
    return path if committed(model) is None else model


def committed_model(path: Path) -> Path:
    """Return the folder of a saved model. Its hashes are not checked.

    Args:
        path: a run folder, or the folder of a saved model itself.

    Raises:
        CheckpointError: there is no model.
    """
    run, folder = RunFolder(path), committed(model_place(path))
    if folder is None:
        if not path.is_dir():
            raise CheckpointError(f"{path}: there is no such run folder; mbert train writes one with -o.")
        if run.model.is_dir():
            raise CheckpointError(f"{run.model / MANIFEST}: is missing; copy the folder again, or train again.")
        if not run.recipe_file.exists():
            raise CheckpointError(f"{path}: is not a run folder: it has no recipe.yaml and no model/{run_below(path)}")
        raise CheckpointError(f"{path}: contains no model; no epoch of this run has been scored yet.")
    return folder
