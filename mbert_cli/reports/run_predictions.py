"""The predictions of a run for labelled files, which `mbert compare` compares.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import UsageError
from mbert_cli.recipe.sections import TaskSection
from mbert_cli.reports.evaluation_folder import METRICS, data_name
from mbert_cli.storage.atomic import committed, read_json
from mbert_cli.storage.model_folder import fitted_tasks, model_section
from mbert_cli.storage.run_folder import RunFolder


@dataclass(frozen=True)
class TaskPredictions:
    """The predictions of a run for a task.

    Args:
        folder: the folder of an evaluation.
        metrics: the task's metrics in that folder.
        data: name of the data, such as `dev`.
        section: the task's section of the recipe.
    """

    folder: Path
    metrics: Mapping[str, Any]
    data: str
    section: TaskSection


@dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run.

    Args:
        path: the run, as the user wrote it.
        tasks: its predictions for each task.
    """

    path: Path
    tasks: Mapping[str, TaskPredictions]


def predictions_in(folder: Path, sections: Mapping[str, TaskSection]) -> dict[str, TaskPredictions]:
    """Return the predictions in the folder of an evaluation.

    Args:
        folder: the folder.
        sections: the tasks of the run's recipe.

    Raises:
        CheckpointError: the metrics of the evaluation cannot be read.
    """
    metrics = read_json(folder / METRICS)
    return {
        name: TaskPredictions(folder, own, data_name(metrics, name), sections[name])
        for name, own in metrics["tasks"].items()
        if name in sections
    }


def saved_predictions(run: Path) -> dict[str, TaskPredictions]:
    """Return the predictions for the dev files that training has saved in a run.

    Raises:
        CheckpointError: there is no model, or the metrics of the evaluation cannot be read.
        UsageError: the run contains no predictions.
    """
    sections = model_section(run).tasks
    folder = committed(RunFolder(run).evaluation)
    if folder is None:
        raise UsageError(
            f"{run}: contains no predictions for dev files; name the files with --data TASK=FILE, for the tasks "
            f"{', '.join(sections)}."
        )
    return predictions_in(folder, sections)


def fitted_note(run: Path, tasks: Mapping[str, TaskPredictions]) -> str | None:
    """Return a note that saved predictions do not use what was fitted after training; None if nothing was fitted."""
    fitted = [name for name in fitted_tasks(RunFolder(run)) if name in tasks]
    if not fitted:
        return None
    return (
        f"{run}: predictions are as trained; thresholds or temperatures of {', '.join(fitted)} were fitted "
        "afterwards: --data TASK=FILE predicts with them."
    )
