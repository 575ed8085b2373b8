"""What an evaluation found, and the folder of files that keeps it; no torch here.

metrics.json                what `mbert evaluate --json` prints
TASK_predictions.tsv        for every row its line in the data file, true label, prediction and scores
TASK_confusion.tsv          of a classification: how many rows of a true label were given which label; a matrix, or with
                            more classes than `MATRIX_LIMIT` a line for each pair of labels that occurs
TASK_confusion_shares.tsv   the same matrix as shares of the true label's rows
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mbert_cli.data.table_writer import as_cell
from mbert_cli.data.text_format import csv_line
from mbert_cli.messages import one_line
from mbert_cli.metrics import MATRIX_LIMIT, Confusion

METRICS = "metrics.json"
CONFUSION = "_confusion.tsv"
CONFUSION_SHARES = "_confusion_shares.tsv"
PREDICTIONS = "_predictions.tsv"
_SHOWN_OF_A_HASH = 12
_CELL = 9  # bytes of a number that follows a tab


@dataclass(frozen=True)
class Predictions:
    """What was predicted for some of a task's examples, in their order.

    Args:
        lines: where each example begins in its file.
        labels: the true ones, names or numbers.
        columns: `pred`, and `score` or `p_<label>`, one value an example; with more classes than `MATRIX_LIMIT`,
            `pred` and `probability`, that of the predicted class.
    """

    lines: Sequence[int]
    labels: Sequence[str] | Sequence[float]
    columns: Mapping[str, Sequence[str] | Sequence[float]]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        metrics: ``{"tasks": {task: metrics}, "overall": number}``.
        predictions: for each task those of all examples, in parts.
    """

    metrics: dict[str, Any]
    predictions: Mapping[str, Iterable[Predictions]]

    def of(self, split: str | None, files: Mapping[str, Mapping[str, Any]], **facts: Any) -> "Evaluation":
        """Return the evaluation with what it was made on among its metrics.

        Args:
            split: `train`, `dev` or `test`; None where a task has another file than the recipe's.
            files: of each task its data's `file`, and what else is known of that; see `data_name`.
            facts: what else is to be known, such as the epoch.
        """
        tasks = {task: {**metrics, **files[task]} for task, metrics in self.metrics["tasks"].items()}
        return Evaluation({"split": split, **facts, **self.metrics, "tasks": tasks}, self.predictions)


def data_name(metrics: Mapping[str, Any], task: str) -> str:
    """Return what a task was evaluated on: the recipe's split, or another file by its name and the start of its hash.

    Args:
        metrics: of an evaluation. Those of a release that did not tell other files from the recipe's name the split.
        task: the task's name.
    """
    own = metrics["tasks"][task]
    split = own.get("split", metrics.get("split"))
    if split is not None:
        return str(split)
    known = f" (sha256 {own['sha256'][:_SHOWN_OF_A_HASH]}…)" if own.get("sha256") else ""
    return f"{one_line(PurePath(own['file']).name)}{known}"


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write an evaluation's files into a folder that exists."""
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
    """Return about how many bytes `write_evaluation` writes for a task.

    Args:
        rows: how many were predicted.
        classes: of a classification; 0 for a task whose labels are values.
    """
    if classes <= MATRIX_LIMIT:
        # A row has its line, its label, the prediction and a probability of each class. A matrix is in two TSV files,
        # and twice in metrics.json, a number on a line.
        return 1_000 + rows * (20 + _CELL * classes) + 300 * classes + 50 * classes**2
    return 1_000 + rows * (25 + _CELL) + 20 * classes + 300 * min(classes, rows) + 90 * _pairs(rows, classes)


def metrics_size(rows: int, classes: int) -> int:
    """Return about how many bytes a task's metrics have in a line of `metrics.jsonl`; see `evaluation_size`."""
    if classes <= MATRIX_LIMIT:
        return 500 + 130 * classes + 8 * classes**2 + 20 * min(classes**2, rows // 2)
    return 500 + 15 * classes + 150 * min(classes, rows) + 15 * _pairs(rows, classes)


def _pairs(rows: int, classes: int) -> int:
    """Return a guess of how many pairs of a true and a predicted label occur, where most rows are right."""
    return min(classes**2, rows) // 3


def _rows(parts: Iterable[Predictions]) -> Iterator[tuple[str | float, ...]]:
    for part in parts:
        yield from zip(part.lines, part.labels, *part.columns.values(), strict=True)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the metrics of an evaluation's folder; nothing where there are none."""
    path = folder / METRICS
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def read_numbers(path: Path, *columns: str) -> list[list[float]]:
    """Return columns of numbers of a `TASK_predictions.tsv`."""
    header, *rows = _read_table(path)
    return [[float(row[header.index(column)]) for row in rows] for column in columns]


def read_predictions(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a `TASK_predictions.tsv`, cells by their columns' names."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t")


def _write_matrix(
    path: Path, labels: Sequence[str], matrix: Sequence[Sequence[int]] | Sequence[Sequence[float]]
) -> None:
    # Two words, so that no label of a task about truth is taken for it.
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
