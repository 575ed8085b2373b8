"""The largest errors of a model, with their texts.

They are the wrong labels with the highest probabilities, and the predicted numbers that are furthest from the labels.

Must not import torch: fast start-up.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mbert_cli.data.label_sets import DELIMITER, LabelSets, parse_flag
from mbert_cli.data.table import Table
from mbert_cli.errors import MbertError
from mbert_cli.recipe.sections import MULTI_LABEL, TaskSection
from mbert_cli.reports.evaluation_folder import PREDICTIONS, read_predictions, write_table

ERRORS = "_errors.tsv"


@dataclass(frozen=True)
class TopError:
    """One wrong prediction.

    Args:
        line: the line of the example in its file.
        label: the true label.
        predicted: the prediction.
        size: the probability of the predicted class, or the distance between label and prediction.
        texts: the texts of the example; empty if its file is missing or has changed.
        measure: the meaning of `size`.
    """

    line: int
    label: str
    predicted: str
    size: float
    texts: tuple[str, ...] = ()
    measure: Literal["probability", "distance"] = "probability"


def top_errors(
    evaluation: Path, task: str, labels: Sequence[str] | None, count: int, delimiter: str | None = None
) -> list[TopError]:
    """Return the largest errors of a task, the largest first, without their texts.

    Args:
        evaluation: a folder that `write_evaluation` wrote.
        task: the task's name.
        labels: the names of its classes, in order; None for a regression.
        count: number of errors at most.
        delimiter: the text between the labels of a row; None if each row has one label.
    """
    rows = read_predictions(evaluation / f"{task}{PREDICTIONS}")
    if delimiter is None:
        errors = (_error(row, labels) for row in rows)
    else:
        errors = (_error_of_set(row, labels or (), delimiter) for row in rows)
    return heapq.nlargest(count, (each for each in errors if each is not None), key=lambda error: error.size)


def _error(row: Mapping[str, str], labels: Sequence[str] | None) -> TopError | None:
    line, label, predicted = int(row["line"]), row["label"], row["pred"]
    if labels is None:
        return TopError(line, label, predicted, abs(float(predicted) - float(label)), measure="distance")
    if label == predicted:
        return None
    if "probability" in row:  # a task with more classes than `MATRIX_LIMIT`
        return TopError(line, label, predicted, float(row["probability"]))
    if f"p_{predicted}" in row:
        return TopError(line, label, predicted, float(row[f"p_{predicted}"]))
    second = float(row["score"])
    return TopError(line, label, predicted, second if predicted == labels[1] else 1 - second)


def _error_of_set(row: Mapping[str, str], labels: Sequence[str], delimiter: str) -> TopError | None:
    """Return the error of a row with several labels. Its size is the largest probability of a wrong decision."""
    true, predicted = ({*row[name].split(delimiter)} for name in ("label", "pred"))
    wrong = [label for label in labels if (label in true) != (label in predicted)]
    if not wrong:
        return None
    sure = max(float(row[f"p_{label}"]) if label in predicted else 1 - float(row[f"p_{label}"]) for label in wrong)
    return TopError(int(row["line"]), row["label"], row["pred"], sure)


def errors_of(
    evaluation: Path, metrics: Mapping[str, Any], tasks: Mapping[str, TaskSection], count: int
) -> dict[str, list[TopError]]:
    """Return the largest errors of every task of an evaluation, with their texts.

    Args:
        evaluation: a folder that `write_evaluation` wrote.
        metrics: the metrics of the evaluation, which name each task's labels and file.
        tasks: the tasks of the run's recipe.
        count: number of errors per task at most.
    """
    errors = {}
    for name, own in metrics["tasks"].items():
        largest = top_errors(evaluation, name, own.get("labels"), count, own.get("delimiter"))
        errors[name] = with_texts(largest, own["file"], tasks[name])
    return errors


def measure_of(errors: Sequence[TopError]) -> str:
    """Return the meaning of the sizes of a task's errors, which is the heading of their column."""
    return errors[0].measure if errors else "probability"


def write_top_errors(folder: Path, errors: Mapping[str, Sequence[TopError]]) -> None:
    """Write a `TASK_errors.tsv` for each task into an existing folder."""
    for task, own in errors.items():
        rows: list[list[str | int | float]] = [
            [error.line, error.label, error.predicted, error.size, *error.texts] for error in own
        ]
        header = ["line", "label", "pred", measure_of(own), *text_columns([error.texts for error in own])]
        write_table(folder / f"{task}{ERRORS}", header, rows)


def text_columns(texts: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the headings of the columns of texts, given the texts of rows; a row may have none."""
    width = max(map(len, texts), default=1)
    return ["text"] if width <= 1 else [f"text{number}" for number in range(1, width + 1)]


def with_texts(errors: Sequence[TopError], file: str, task: TaskSection) -> list[TopError]:
    """Add the texts of the rows to the errors. If the file cannot be read or has changed, return the errors unchanged.

    Args:
        errors: errors of one task.
        file: the task's data file.
        task: the task's section, which names the columns of texts and label.
    """
    texts = texts_of({error.line: error.label for error in errors}, file, task)
    return list(errors) if texts is None else [replace(error, texts=texts[error.line]) for error in errors]


def texts_of(labels: Mapping[int, str], file: str, task: TaskSection) -> dict[int, tuple[str, ...]] | None:
    """Return the texts of some rows by their lines; None if the file cannot be read or has changed.

    Args:
        labels: the label of each row, as the evaluation saved it, by the line at which the row begins.
        file: the task's data file.
        task: the task's section, which names the columns of texts and label.
    """
    texts: dict[int, tuple[str, ...]] = {}
    if not labels:
        return texts
    try:
        with Table(file, task.quoting, task.delimiter, task.columns) as table:
            columns = [table.column(name) for name in task.text]
            label_columns = [table.column(name) for name in task.label_columns]
            read = _reader(task)
            for row in table.all_rows():
                if row.problem or row.line not in labels:
                    continue
                if not _same(read([row.cells[column] for column in label_columns]), labels[row.line]):
                    return None  # the file has changed, so all its texts are doubtful
                texts[row.line] = tuple(row.cells[column] for column in columns)
                if len(texts) == len(labels):
                    break
    except (MbertError, ValueError):
        return None
    return texts if len(texts) == len(labels) else None


def _reader(task: TaskSection) -> Callable[[Sequence[str]], str]:
    """Return a function that reads the cells of a label in the form in which an evaluation saves it."""
    names = task.head.options.get("labels")
    if task.head.kind != MULTI_LABEL:
        renamed = names if isinstance(names, Mapping) else {}
        return lambda cells: renamed.get(cells[0].strip(), cells[0])
    sets = LabelSets(names or (), task.head.options.get("delimiter", DELIMITER))
    return lambda cells: sets.joined(sets.parse(cells[0]) if len(cells) == 1 else map(parse_flag, cells))


def _same(cell: str, label: str) -> bool:
    """Whether a cell of the data file is the label that the evaluation saved."""
    if cell.strip() == label:
        return True
    try:
        return abs(float(cell) - float(label)) <= 1e-5 * max(1.0, abs(float(label)))
    except ValueError:
        return False
