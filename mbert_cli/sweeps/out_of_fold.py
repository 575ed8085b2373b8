"""Out-of-fold predictions: each training row, predicted by the model that was not trained on it.

Must not import torch: fast start-up.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mbert_cli.data.table import Table
from mbert_cli.data.text_output import csv_line
from mbert_cli.errors import CheckpointError
from mbert_cli.recipe.sections import TaskSection
from mbert_cli.reports.evaluation_folder import PREDICTIONS
from mbert_cli.reports.scored_rows import read_rows
from mbert_cli.storage.atomic import committed, replace_file
from mbert_cli.storage.run_folder import RunFolder


def write_out_of_fold(folder: Path, name: str, task: TaskSection, runs: Mapping[str, RunFolder]) -> Path:
    """Write the `TASK_predictions.tsv` of a cross-validation; return the file.

    The columns are those of an evaluation, with `id`, if the file has ids, and `fold` after `line`. The rows are in the
    order of the training file.

    Args:
        folder: the folder of the cross-validation.
        name: the task's name.
        task: the task.
        runs: the run of each fold, by the number of the fold.

    Raises:
        CheckpointError: the predictions of a fold are missing.
        DataError: the training file cannot be read.
    """
    header: list[str] = []
    rows: list[tuple[int, str, list[str]]] = []
    for number, run in runs.items():
        header, *own = _predictions(run, name)
        rows += [(int(cells[0]), number, cells) for cells in own]
    rows.sort(key=lambda row: row[0])
    assert len({line for line, _, _ in rows}) == len(rows), "each row is in one fold"
    ids = dict(_ids(task))
    lines = [csv_line([header[0], *["id"] * bool(ids), "fold", *header[1:]], "\t", is_header=True)]
    for line, number, cells in rows:
        lines.append(csv_line([cells[0], *([ids.get(line, "")] if ids else []), number, *cells[1:]], "\t"))
    path = folder / f"{name}{PREDICTIONS}"
    replace_file(path, "".join(lines))
    return path


def pooled_scores(folder: Path, name: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores over the predictions of all folds together.

    Args:
        folder: the folder with the `TASK_predictions.tsv` of all folds.
        name: the task's name.
        metrics: the metrics of one fold, which name the labels.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    rows = read_rows(folder, name, metrics)
    everything = np.arange(len(rows))
    return {metric: score(everything) for metric, score in rows.scores.items()}


def _predictions(run: RunFolder, name: str) -> list[list[str]]:
    evaluation = committed(run.evaluation)
    if evaluation is None:
        raise CheckpointError(
            f"{run.path}: contains no predictions for its fold; remove this folder, and run the same command again."
        )
    with (evaluation / f"{name}{PREDICTIONS}").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def _ids(task: TaskSection) -> Iterator[tuple[int, str]]:
    """Yield the line and the id of each row of the training file; nothing if there are no ids."""
    with Table(task.train, task.quoting, task.delimiter, task.columns) as table:
        if task.id is None or not table.has(task.id) or table.header.count(task.id) > 1:
            return
        column = table.column(task.id, required=False)
        for row in table.all_rows():
            if not row.problem:
                yield row.line, row.cells[column]
