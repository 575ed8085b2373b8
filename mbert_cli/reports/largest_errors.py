"""The errors that a model is surest of, with their texts; no torch here."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mbert_cli.data.table import Table
from mbert_cli.errors import MbertError
from mbert_cli.recipe.sections import TaskSection
from mbert_cli.reports.evaluation_folder import PREDICTIONS, read_predictions, write_table

ERRORS = "_errors.tsv"


@dataclass(frozen=True)
class TopError:
    """One wrong prediction.

    Args:
        line: where the example begins in its file.
        label: the true one.
        predicted: what was predicted.
        size: how wrong it is: the probability of the class that was predicted, or the distance between two numbers.
        texts: of the example; none where its file is no longer there or has changed.
        measure: what `size` is.
    """

    line: int
    label: str
    predicted: str
    size: float
    texts: tuple[str, ...] = ()
    measure: Literal["probability", "distance"] = "probability"


def top_errors(evaluation: Path, task: str, labels: Sequence[str] | None, count: int) -> list[TopError]:
    """Return a task's largest errors, the largest first.

    Args:
        evaluation: a folder that `write_evaluation` wrote.
        task: its name.
        labels: the names of its classes, in order; None where its labels are numbers.
        count: how many at most.
    """
    rows = read_predictions(evaluation / f"{task}{PREDICTIONS}")
    errors = (_error(row, labels) for row in rows)
    return heapq.nlargest(count, (each for each in errors if each is not None), key=lambda error: error.size)


def _error(row: Mapping[str, str], labels: Sequence[str] | None) -> TopError | None:
    line, label, predicted = int(row["line"]), row["label"], row["pred"]
    if labels is None:
        return TopError(line, label, predicted, abs(float(predicted) - float(label)), measure="distance")
    if label == predicted:
        return None
    if "probability" in row:  # the file of very many classes
        return TopError(line, label, predicted, float(row["probability"]))
    if f"p_{predicted}" in row:
        return TopError(line, label, predicted, float(row[f"p_{predicted}"]))
    second = float(row["score"])
    return TopError(line, label, predicted, second if predicted == labels[1] else 1 - second)


def errors_of(
    evaluation: Path, metrics: Mapping[str, Any], tasks: Mapping[str, TaskSection], count: int
) -> dict[str, list[TopError]]:
    """Return the largest errors of every task of an evaluation, with their texts.

    Args:
        evaluation: a folder that `write_evaluation` wrote.
        metrics: what it holds: each task's labels and file.
        tasks: of the run's recipe.
        count: how many of each task at most.
    """
    found = {}
    for name, each in metrics["tasks"].items():
        errors = top_errors(evaluation, name, each.get("labels"), count)
        found[name] = with_texts(errors, each["file"], tasks[name])
    return found


def measure_of(errors: Sequence[TopError]) -> str:
    """Return what the sizes of a task's errors are: the heading of their column."""
    return errors[0].measure if errors else "probability"


def write_top_errors(folder: Path, errors: Mapping[str, Sequence[TopError]]) -> None:
    """Write a `TASK_errors.tsv` for each task into a folder that exists."""
    for task, own in errors.items():
        width = max((len(error.texts) for error in own), default=1)
        texts = ["text"] if width <= 1 else [f"text{number}" for number in range(1, width + 1)]
        rows: list[list[str | int | float]] = [
            [error.line, error.label, error.predicted, error.size, *error.texts] for error in own
        ]
        write_table(folder / f"{task}{ERRORS}", ["line", "label", "pred", measure_of(own), *texts], rows)


def with_texts(errors: Sequence[TopError], file: str, task: TaskSection) -> list[TopError]:
    """Return errors with their texts; with none at all where the data file is gone, broken or holds other labels.

    Args:
        errors: of one task.
        file: its data file.
        task: says which columns hold texts and label.
    """
    wanted = {error.line: error for error in errors}
    found: dict[int, TopError] = {}
    try:
        with Table(file, task.quoting, task.delimiter, task.columns) as table:
            columns = [table.column(name) for name in task.text]
            label = table.column(task.label)
            for row in table.all_rows():
                error = None if row.problem else wanted.get(row.line)
                if error is not None and not _same(row.cells[label], error.label):
                    return list(errors)  # what has changed in one place may have changed in others
                if error is not None:
                    found[row.line] = replace(error, texts=tuple(row.cells[column] for column in columns))
                if len(found) == len(wanted):
                    break
    except MbertError:
        return list(errors)
    return [found[error.line] for error in errors] if len(found) == len(wanted) else list(errors)


def _same(cell: str, label: str) -> bool:
    """Whether a cell of the data file is the label that an evaluation wrote down."""
    if cell.strip() == label:
        return True
    try:
        return abs(float(cell) - float(label)) <= 1e-5 * max(1.0, abs(float(label)))
    except ValueError:
        return False
