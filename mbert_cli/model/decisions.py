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
from mbert_cli.storage.atomic import DECISIONS, amend_folder, amendment


def decisions_text(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the content of `decisions-*.json` for the given values of each task."""
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


def check_decisions(folder: Path, decisions: Mapping[str, Any], tasks: Mapping[str, TaskSection]) -> None:
    """Check that saved temperatures and cuts belong to classification tasks of the model.

    Raises:
        CheckpointError: they do not.
    """
    for name in decisions:
        if name not in tasks or not issubclass(head_class(tasks[name]), DecidingHead):
            raise CheckpointError(
                f"{amendment(folder, DECISIONS)}: has values for task '{name}', but the model has no classification "
                "task of that name; fit again with mbert evaluate."
            )


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
        raise CheckpointError(f"{path}: {key} {validation_message(first)}; fit again with mbert evaluate.") from None
