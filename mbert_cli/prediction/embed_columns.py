"""The task whose vectors are written, and the columns that one vector stands for."""

from mbert_cli.errors import UsageError
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_model import SavedModel


def task_to_embed(saved: SavedModel, task: str | None) -> str:
    """Return the task whose adapters are used. The name may be omitted if all tasks have the same vectors.

    Raises:
        CheckpointError: the model has no such task.
        UsageError: the vectors differ by task, but no task is named; or the model is an ensemble.
    """
    model, names = saved.model, saved.model.task_names
    if not isinstance(model, MultiTaskBert):
        raise UsageError(
            f"this model is an ensemble of {len(model.members())}, whose vectors cannot be averaged; "
            "embed with one of its members: RUN/members/1."
        )
    if task is None:
        if len(names) > 1 and any(saved.section.adapters_of(name) for name in names):
            raise UsageError(f"vectors differ by task: choose one with -t: {', '.join(names)}.")
        task = names[0]
    saved.task(task)
    return task


def columns_to_embed(saved: SavedModel, task: str) -> list[str]:
    """Return the columns of a row's vector: both texts of a pair if the head reads them as one, else the first."""
    text = saved.task(task).text
    return text if "whole" in saved.model.head(task).sides else text[:1]


def reads_only_pairs(saved: SavedModel, task: str) -> bool:
    """Whether a task's head reads both texts of a pair in one sequence, and neither of them alone."""
    sides = saved.model.head(task).sides
    return len(saved.task(task).text) > 1 and set(sides) == {"whole"}
