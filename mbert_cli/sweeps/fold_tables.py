"""The tables of a cross-validation, for the terminal and as files: TSV, Markdown and HTML.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from mbert_cli.data.text_output import csv_line, full
from mbert_cli.messages import one_line
from mbert_cli.reports.html import html_page
from mbert_cli.reports.markdown import markdown_page
from mbert_cli.storage.atomic import replace_file
from mbert_cli.sweeps.cross_validation import CrossValidation, FoldScore
from mbert_cli.sweeps.folder import TABLES
from mbert_cli.sweeps.table import done_of, note_of
from mbert_cli.terminal.tables import FittedTable, new_table

_LEGEND = (
    "Mean and standard deviation over the folds; pooled: the score of the predictions of all folds together. Scores of "
    "a fold are those of the epoch that was kept."
)
_SCORES = ("score", "mean", "deviation", "lowest", "highest", "pooled")


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Args:
        title: title of the table.
        headings: headings of the columns.
        rows: the cells of each row.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables_of(result: CrossValidation) -> list[TextTable]:
    """Return the tables of a cross-validation: its scores, then its folds; none until a fold is done."""
    if not result.scores:
        return []
    return [TextTable("Scores", _SCORES, [_score(*each) for each in result.scores.items()]), _folds(result)]


def _score(name: tuple[str, str], score: FoldScore) -> list[str]:
    numbers = (score.mean, score.deviation, min(score.folds), max(score.folds), score.pooled)
    return [_name(name), *("-" if number is None else f"{number:.3f}" for number in numbers)]


def _name(name: tuple[str, str]) -> str:
    return one_line(" ".join(each for each in name if each))


def _folds(result: CrossValidation) -> TextTable:
    """Return the table of the folds that are done: rows of each task, epoch that was kept, and main scores."""
    main = {name: score for name, score in result.scores.items() if score.is_main}
    done = [row for row in result.sweep.rows if row.reports]
    facts = result.facts
    rows = []
    for place, row in enumerate(done):
        number = int(row.row.name.split()[-1])
        sizes = [f"{own['rows'][number - 1]:,}" for own in facts.values()]
        scores = [f"{score.folds[place]:.3f}" for score in main.values()]
        rows.append([str(number), *sizes, str(row.reports[0].kept.epoch), *scores])
    sizes = [f"{one_line(name)} rows" for name in facts]
    return TextTable("Folds", ["fold", *sizes, "epoch", *map(_name, main)], rows)


def _progress(result: CrossValidation) -> str:
    rows = result.sweep.rows
    return f"{done_of(sum(bool(row.reports) for row in rows), len(rows))}."


def _notes(result: CrossValidation) -> list[str]:
    failed = [note_of(run, state) for run, state in result.sweep.unfinished]
    return [*failed, *(one_line(f"{warning}.") for warning in result.warnings)]


def write_fold_tables(folder: Path, result: CrossValidation) -> None:
    """Write the tables in all formats; each file is replaced atomically.

    Raises:
        ResourceError: the disk is full.
        UsageError: the folder is not writable.
    """
    values: dict[str, Any] = {
        "title": one_line(result.sweep.title),
        "progress": _progress(result),
        "legend": _LEGEND if result.scores else "",
        "tables": tables_of(result),
        "notes": _notes(result),
        "files": [path.name for path in result.files.values()],
    }
    texts = (_as_tsv(result), markdown_page("cv.md", **values), html_page("cv.html", **values))
    for name, text in zip(TABLES, texts, strict=True):
        replace_file(folder / name, text)


def _as_tsv(result: CrossValidation) -> str:
    """Return the scores with unrounded numbers: one line for each score, with one column for each fold."""
    done = [row.row.name.replace(" ", "_") for row in result.sweep.rows if row.reports]
    lines = [csv_line(["task", "metric", "mean", "deviation", "pooled", *done], "\t", is_header=True)]
    for (task, metric), score in result.scores.items():
        numbers = (score.mean, score.deviation, score.pooled, *score.folds)
        lines.append(csv_line([task, metric, *map(full, numbers)], "\t"))
    return "".join(lines)


def fold_tables(result: CrossValidation) -> RenderableType:
    """Return the tables for the terminal."""
    shown: list[RenderableType] = [Text(one_line(result.sweep.title), style="bold")]
    for table in tables_of(result):
        shown.append(_fitted(table))
    below = f"{_progress(result)} {_LEGEND if result.scores else ''}".strip()
    return Group(*shown, Text(below), *map(Text, _notes(result)))


def _fitted(table: TextTable) -> FittedTable:
    first, *others = table.headings
    fitted = new_table(first, *((name, "right") for name in others), drop=("lowest", "highest"))
    for row in table.rows:
        fitted.add_row(*row)
    return fitted


def facts_table(facts: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    """Return the table of `mbert cv --dry-run`: the number of rows of each fold, and warnings."""
    table = new_table("fold", *((f"{one_line(name)} rows", "right") for name in facts))
    for number, sizes in enumerate(zip(*(own["rows"] for own in facts.values()), strict=True), 1):
        table.add_row(str(number), *(f"{size:,}" for size in sizes))
    table.add_section()
    table.add_row("all", *(f"{sum(own['rows']):,}" for own in facts.values()))
    warnings = [warning for own in facts.values() for warning in own["warnings"]]
    return Group(table, *(Text(one_line(f"{warning}.")) for warning in warnings))
