"""The predicted rows of an evaluation folder, as arrays.

Must not import torch: fast start-up.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbert_cli.errors import CheckpointError
from mbert_cli.reports.evaluation_folder import PREDICTIONS
from mbert_cli.reports.row_scores import RowScore, class_scores, number_scores, set_scores


@dataclass(frozen=True)
class ScoredRows:
    """The predicted rows of a task.

    Args:
        lines: the line of the data file at which each row begins.
        labels: the true labels, as texts.
        predicted: the predictions, as texts.
        distances: how far each prediction is from the label: 1 minus the probability of the true class; the number of
            wrong labels; or the absolute difference of two numbers.
        right: whether each prediction is correct; None if labels are numbers.
        scores: the metrics of any choice of rows.
        width: number of values of a row; see `bootstrap.rows_per_resample`.
        positive: the class of which precision, recall and F1 are reported; None for averages.
    """

    lines: Sequence[int]
    labels: Sequence[str]
    predicted: Sequence[str]
    distances: np.ndarray
    right: np.ndarray | None
    scores: Mapping[str, RowScore]
    width: int = 1
    positive: str | None = None

    def __len__(self) -> int:
        return len(self.lines)


def read_rows(folder: Path, task: str, metrics: Mapping[str, Any]) -> ScoredRows:
    """Read the predicted rows of a task.

    Args:
        folder: the folder of an evaluation.
        task: the task's name.
        metrics: the task's metrics in that folder.

    Raises:
        CheckpointError: the file of predictions is missing or damaged.
    """
    path = folder / f"{task}{PREDICTIONS}"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.reader(file, delimiter="\t")
            return _scored(next(table), table, metrics)
    except (OSError, ValueError, KeyError, IndexError, StopIteration, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: cannot be read ({reason}); copy the run again, or train again.") from None


def _scored(header: Sequence[str], table: Iterator[list[str]], metrics: Mapping[str, Any]) -> ScoredRows:
    names: Sequence[str] | None = metrics.get("labels")
    if names is None:
        return _numbers(header, table)
    if "delimiter" in metrics:
        return _sets(header, table, names, metrics["delimiter"])
    return _classes(header, table, names, "quadratic_kappa" in metrics)


def _numbers(header: Sequence[str], table: Iterator[list[str]]) -> ScoredRows:
    lines, labels, predicted, _ = _columns(header, table, lambda *_: 0.0)
    own, other = (np.array([float(each) for each in texts]) for texts in (labels, predicted))
    return ScoredRows(lines, labels, predicted, np.abs(other - own), None, number_scores(own, other))


def _classes(header: Sequence[str], table: Iterator[list[str]], names: Sequence[str], ordered: bool) -> ScoredRows:
    lines, labels, predicted, true = _columns(header, table, _true_probability(header, names))
    code = {name: index for index, name in enumerate(names)}
    own, other = (np.array([code[each] for each in texts]) for texts in (labels, predicted))
    positive = 1 if "score" in header else None
    return ScoredRows(
        lines,
        labels,
        predicted,
        1 - np.array(true),
        own == other,
        class_scores(own, other, len(names), positive, ordered),
        positive=None if positive is None else names[positive],
    )


def _sets(header: Sequence[str], table: Iterator[list[str]], names: Sequence[str], delimiter: str) -> ScoredRows:
    lines, labels, predicted, _ = _columns(header, table, lambda *_: 0.0)
    code = {name: index for index, name in enumerate(names)}
    own, other = (np.zeros((len(lines), len(names)), dtype=bool) for _ in range(2))
    for flags, texts in ((own, labels), (other, predicted)):
        for row, text in enumerate(texts):
            flags[row, [code[name] for name in text.split(delimiter) if name]] = True
    wrong = (own != other).sum(axis=1)
    return ScoredRows(lines, labels, predicted, wrong, wrong == 0, set_scores(own, other), width=len(names))


_TrueProbability = Callable[[Sequence[str], str, str], float]
"""Returns the probability of the true class from the cells of a row, its true label and its prediction."""


def _true_probability(header: Sequence[str], names: Sequence[str]) -> _TrueProbability:
    place = {name: index for index, name in enumerate(header)}
    if "score" in place:
        score = place["score"]
        return lambda cells, label, _: float(cells[score]) if label == names[1] else 1 - float(cells[score])
    if "probability" in place:  # a task with more classes than `MATRIX_LIMIT`
        sure = place["probability"]
        return lambda cells, label, predicted: float(cells[sure]) if label == predicted else 0.0
    columns = {name: place[f"p_{name}"] for name in names}
    return lambda cells, label, _: float(cells[columns[label]])


def _columns(
    header: Sequence[str], table: Iterator[list[str]], true_probability: _TrueProbability
) -> tuple[list[int], list[str], list[str], list[float]]:
    line, label, pred = (header.index(name) for name in ("line", "label", "pred"))
    rows = [
        (int(cells[line]), cells[label], cells[pred], true_probability(cells, cells[label], cells[pred]))
        for cells in table
    ]
    if not rows:
        raise ValueError("it has no rows")
    lines, labels, predicted, probabilities = (list(column) for column in zip(*rows, strict=True))
    return lines, labels, predicted, probabilities
