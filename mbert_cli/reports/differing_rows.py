"""The rows for which two runs predict different labels or numbers.

Must not import torch: fast start-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mbert_cli.recipe.sections import TaskSection
from mbert_cli.reports.evaluation_folder import write_table
from mbert_cli.reports.largest_errors import text_columns, texts_of
from mbert_cli.reports.scored_rows import ScoredRows

DIFFERENCES = "_differences.tsv"

Better = Literal["A", "B", "neither"]


@dataclass(frozen=True)
class DifferingRow:
    """A row for which two runs predict different values.

    Args:
        line: the line of the data file at which it begins.
        label: the true label.
        a: the prediction of run A.
        b: the prediction of run B.
        better: the run that is correct, or whose number is closer to the label.
        texts: its texts; empty if the file is missing or has changed.
    """

    line: int
    label: str
    a: str
    b: str
    better: Better
    texts: tuple[str, ...] = ()


def differing_rows(a: ScoredRows, b: ScoredRows) -> list[DifferingRow]:
    """Return the rows whose predictions differ, without their texts.

    First come the rows that only one run predicts correctly. Among them, and among the others, the first are those with
    the largest difference in the runs' distances from the label; see `ScoredRows.distances`.
    """
    rows = []
    sizes = abs(b.distances - a.distances)
    for row, (line, label, own, other) in enumerate(zip(a.lines, a.labels, a.predicted, b.predicted, strict=True)):
        if own != other:
            better = _better(a, b, row)
            rows.append((better == "neither", -float(sizes[row]), DifferingRow(line, label, own, other, better)))
    return [each for *_, each in sorted(rows, key=lambda entry: (*entry[:2], entry[2].line))]


def _better(a: ScoredRows, b: ScoredRows, row: int) -> Better:
    if a.right is None or b.right is None:
        own, other = a.distances[row], b.distances[row]
    else:
        own, other = b.right[row], a.right[row]
    return "neither" if own == other else "A" if own < other else "B"


def rows_with_texts(rows: Sequence[DifferingRow], file: str, task: TaskSection) -> list[DifferingRow]:
    """Return the rows with their texts; without them if the file cannot be read or has changed.

    Args:
        rows: rows of one task.
        file: the task's data file.
        task: the task's section, which names the columns of texts and label.
    """
    texts = texts_of({row.line: row.label for row in rows}, file, task)
    return list(rows) if texts is None else [replace(row, texts=texts[row.line]) for row in rows]


def write_differing_rows(folder: Path, task: str, rows: Sequence[DifferingRow]) -> None:
    """Write a `TASK_differences.tsv` into an existing folder."""
    header = ["line", "label", "pred_a", "pred_b", "better", *text_columns([row.texts for row in rows])]
    cells = ([row.line, row.label, row.a, row.b, row.better, *row.texts] for row in rows)
    write_table(folder / f"{task}{DIFFERENCES}", header, cells)
