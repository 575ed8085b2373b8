"""The fitted temperatures and cuts of a saved model: `decisions-*.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mbert_cli.errors import CheckpointError
from mbert_cli.heads import DecidingHead, Head
from mbert_cli.model.compose import head_class
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.recipe.sections import TaskSection
from mbert_cli.recipe.validation_message import validation_message
from mbert_cli.storage.atomic import DECISIONS, amend_folder, amendment, read_json


def decisions_text(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the content of the file for the values of each task."""
    return json.dumps({"tasks": tasks}, indent=2) + "\n"


def write_decisions(folder: Path, model: SentenceModel) -> None:
    """Save the temperatures and cuts of a model. After a crash, either the previous values or the new ones are saved.

    Args:
        folder: the folder of the saved model.
        model: the model.

    Raises:
        ResourceError: the disk is full.
        UsageError: the folder cannot be written to.
    """
    heads = {name: model.head(name) for name in model.task_names}
    decisions = {name: head.decision.model_dump() for name, head in heads.items() if head.decision is not None}
    amend_folder(folder, DECISIONS, decisions_text(decisions))


def read_decisions(folder: Path) -> dict[str, Any]:
    """Return the saved temperatures and cuts of each task of a model; empty if nothing was fitted."""
    path = amendment(folder, DECISIONS)
    tasks = {} if path is None else read_json(path).get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def check_decisions(folder: Path, decisions: Mapping[str, Any], tasks: Mapping[str, TaskSection]) -> None:
    """Check that saved temperatures and cuts belong to classifications of the model.

    Raises:
        CheckpointError: they do not.
    """
    for name in decisions:
        if name not in tasks or not issubclass(head_class(tasks[name]), DecidingHead):
            raise CheckpointError(_no_classification(folder, name))


def set_decision(folder: Path, name: str, head: Head, decisions: Mapping[str, Any]) -> None:
    """Set the saved temperature and cuts of a task in its head, if there are any.

    Args:
        folder: the folder of the saved model.
        name: the name of the task.
        head: its head.
        decisions: the result of `read_decisions`.

    Raises:
        CheckpointError: the values do not fit the head.
    """
    if name not in decisions:
        return
    assert head.decision is not None  # see `check_decisions`
    try:
        head.decision = type(head.decision).model_validate(decisions[name])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (name, *first["loc"])))
        path = amendment(folder, DECISIONS)
        raise CheckpointError(f"{path}: {key} {validation_message(first)}; fit again.") from None


def _no_classification(folder: Path, name: str) -> str:
    path = amendment(folder, DECISIONS)
    return f"{path}: has task '{name}', but the model has no such classification; fit again."
