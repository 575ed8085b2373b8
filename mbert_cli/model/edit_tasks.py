"""New versions of a saved model with more, fewer or renamed tasks. The files of the other tasks do not change."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbert_cli.metrics import overall
from mbert_cli.model.decisions import decisions_text
from mbert_cli.model.saved_model import write_texts
from mbert_cli.model.saved_parts import ModelFiles, TaskFiles
from mbert_cli.storage.atomic import DECISIONS, amendment_name, check_file
from mbert_cli.storage.model_folder import TASK_ADAPTERS, is_of_a_task, section_of


def all_tasks(model: ModelFiles) -> dict[str, TaskFiles]:
    """Return all tasks of a model."""
    return {name: model.task(name) for name in model.task_names}


def write_with_tasks(folder: Path, model: ModelFiles, tasks: Mapping[str, TaskFiles]) -> None:
    """Write a model that has the encoder of another model, and the given tasks.

    Args:
        folder: an existing, empty folder.
        model: the model whose encoder, pooling and settings are used.
        tasks: the tasks by their names. They must fit the encoder; this is not checked here.

    Raises:
        CheckpointError: the model was replaced after it was opened, or a file was altered.
    """
    model.check_unchanged()
    for name, sha256 in model.hashes.items():
        if name.startswith(("encoder/", "members/")) and not is_of_a_task(name):
            check_file(model.folder / name, sha256)
            _copy(model.folder / name, folder / name)
    for name, task in tasks.items():
        for prefix, file in zip(model.member_prefixes, task.files, strict=True):
            _copy(file, folder / f"{prefix}tasks/{name}.safetensors")
    decisions = {name: task.decision for name, task in tasks.items() if task.decision is not None}
    if decisions:
        text = decisions_text(decisions)
        (folder / amendment_name(DECISIONS, text)).write_text(text, encoding="utf-8")
    config = _config(folder, model, tasks)
    write_texts(folder, config, section_of(config, folder, lambda *_: []))


def _config(folder: Path, model: ModelFiles, tasks: Mapping[str, TaskFiles]) -> dict[str, Any]:
    """Return config.json of a model with given tasks."""
    config = {key: value for key, value in model.config.items() if key not in (TASK_ADAPTERS, "added")}
    metrics = {name: task.metrics for name, task in tasks.items()}
    mean = overall({name: (each["main_metric"], each[each["main_metric"]]) for name, each in metrics.items()})
    config |= {
        "tasks": {name: task.section for name, task in tasks.items()},
        "scores": {**config["scores"], "tasks": metrics, "overall": mean},
    }
    adapters = {name: task.adapters for name, task in tasks.items() if task.adapters != config["adapters"]}
    added = {name: {"training": task.training} for name, task in tasks.items() if task.trained_separately}
    config |= {key: value for key, value in ((TASK_ADAPTERS, adapters), ("added", added)) if value}
    if "encoder_path" in config:
        config["encoder_path"] = model.encoder_path_from(folder)
    return config


def _copy(source: Path, target: Path) -> None:
    """Copy a file, unless it is already in its place."""
    if source == target:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
