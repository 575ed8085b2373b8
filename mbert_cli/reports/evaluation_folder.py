"""The results of an evaluation, and the folder that contains them.

metrics.json                what `mbert evaluate --json` prints
TASK_predictions.tsv        for each row: its line in the data file, true label, prediction and scores
TASK_confusion.tsv          the confusion matrix of a classification (rows are true labels); with more classes than
                            `MATRIX_LIMIT`, one line for each pair of a true and a predicted label
TASK_confusion_shares.tsv   the same matrix, divided by the number of rows with the true label

Must not import torch: fast start-up.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mbert_cli.data.table_writer import as_cell
from mbert_cli.data.text_output import csv_line
from mbert_cli.messages import one_line
from mbert_cli.metrics import MATRIX_LIMIT
from mbert_cli.reports.confusion import Confusion

METRICS = "metrics.json"
CONFUSION = "_confusion.tsv"
CONFUSION_SHARES = "_confusion_shares.tsv"
PREDICTIONS = "_predictions.tsv"
_SHOWN_OF_A_HASH = 12
_CELL = 9  # bytes of a number and a tab


@dataclass(frozen=True)
class Predictions:
    """The predictions for some of a task's examples, in their order.

    Args:
        lines: the line of each example in its file.
        labels: the true labels, names or numbers.
        columns: `pred`, and `score` or `p_<label>`, one value per example. With more classes than `MATRIX_LIMIT`:
            `pred` and `probability`, which is that of the predicted class.
    """

    lines: Sequence[int]
    labels: Sequence[str] | Sequence[float]
    columns: Mapping[str, Sequence[str] | Sequence[float]]


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation.

    Args:
        metrics: ``{"tasks": {task: metrics}, "overall": number}``.
        predictions: for each task, the predictions for all its examples, in parts.
    """

    metrics: dict[str, Any]
    predictions: Mapping[str, Iterable[Predictions]]

    def of(self, split: str | None, files: Mapping[str, Mapping[str, Any]], **facts: Any) -> "Evaluation":
        """Return the evaluation with its data files among its metrics.

        Args:
            split: `train`, `dev` or `test`; None if a task was evaluated on a file that is not the recipe's.
            files: for each task, its `file` and more facts about it; see `data_name`.
            facts: more metrics, such as the epoch.
        """
        tasks = {task: {**metrics, **files[task]} for task, metrics in self.metrics["tasks"].items()}
        return Evaluation({"split": split, **facts, **self.metrics, "tasks": tasks}, self.predictions)


def data_name(metrics: Mapping[str, Any], task: str) -> str:
    """Return the name of the data that a task was evaluated on.

    It is the name of the recipe's split. For another file it is the file's name with the start of its SHA-256.

    Args:
        metrics: metrics of an evaluation. Older versions always saved the split, at the top.
        task: the task's name.
    """
    own = metrics["tasks"][task]
    split = own.get("split", metrics.get("split"))
    if split is not None:
        return str(split)
    sha256 = f" (sha256 {own['sha256'][:_SHOWN_OF_A_HASH]}…)" if own.get("sha256") else ""
    return f"{one_line(PurePath(own['file']).name)}{sha256}"


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write the files of an evaluation into an existing folder."""
    text = json.dumps(evaluation.metrics, indent=2, ensure_ascii=False) + "\n"
    (folder / METRICS).write_text(text, encoding="utf-8")
    for task, metrics in evaluation.metrics["tasks"].items():
        if (confusion := Confusion.of(metrics)) is None:
            continue
        if confusion.has_matrix:
            _write_matrix(folder / f"{task}{CONFUSION}", confusion.labels, confusion.matrix())
            _write_matrix(folder / f"{task}{CONFUSION_SHARES}", confusion.labels, confusion.shares())
        else:
            pairs = ((pair.label, pair.predicted, pair.count, pair.share) for pair in confusion.pairs())
            write_table(folder / f"{task}{CONFUSION}", ["true label", "predicted label", "rows", "share"], pairs)
    for task, parts in evaluation.predictions.items():
        names = next(iter(parts)).columns
        write_table(folder / f"{task}{PREDICTIONS}", ["line", "label", *names], _rows(parts))


def evaluation_size(rows: int, classes: int) -> int:
    """Return an estimate of the bytes that `write_evaluation` writes for a task.

    Args:
        rows: number of predicted rows.
        classes: number of classes; 0 for a regression.
    """
    if classes <= MATRIX_LIMIT:
        # A row has a line number, a label, a prediction and a probability per class. The matrix is in two TSV files,
        # and twice in metrics.json with one number per line.
        return 1_000 + rows * (20 + _CELL * classes) + 300 * classes + 50 * classes**2
    return 1_000 + rows * (25 + _CELL) + 20 * classes + 300 * min(classes, rows) + 90 * _pairs(rows, classes)


def metrics_size(rows: int, classes: int) -> int:
    """Return an estimate of the bytes of a task's metrics in a line of metrics.jsonl; see `evaluation_size`."""
    if classes <= MATRIX_LIMIT:
        return 500 + 130 * classes + 8 * classes**2 + 20 * min(classes**2, rows // 2)
    return 500 + 15 * classes + 150 * min(classes, rows) + 15 * _pairs(rows, classes)


def _pairs(rows: int, classes: int) -> int:
    """Return an estimate of the number of distinct (true, predicted) pairs if most predictions are correct."""
    return min(classes**2, rows) // 3


def _rows(parts: Iterable[Predictions]) -> Iterator[tuple[str | float, ...]]:
    for part in parts:
        yield from zip(part.lines, part.labels, *part.columns.values(), strict=True)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the metrics in the folder of an evaluation; empty if there are none."""
    path = folder / METRICS
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return metrics


def read_numbers(path: Path, *columns: str) -> list[list[float]]:
    """Return numeric columns of a `TASK_predictions.tsv`."""
    header, *rows = _read_table(path)
    return [[float(row[header.index(column)]) for row in rows] for column in columns]


def read_predictions(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a `TASK_predictions.tsv`, as cells by column name."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t")


def _write_matrix(
    path: Path, labels: Sequence[str], matrix: Sequence[Sequence[int]] | Sequence[Sequence[float]]
) -> None:
    # The name has two words, because "true" could be a label.
    write_table(path, ["true label", *labels], ((label, *row) for label, row in zip(labels, matrix, strict=True)))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Iterable[str | int | float]]) -> None:
    """Write a TSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(header, "\t", is_header=True))
        for row in rows:
            file.write(csv_line([str(cell) if isinstance(cell, int) else as_cell(cell) for cell in row], "\t"))


def _read_table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))
