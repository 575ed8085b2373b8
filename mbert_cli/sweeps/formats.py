"""The files with the table of a sweep: TSV, Markdown and HTML.

Must not import torch: fast start-up.
"""

import base64
from collections.abc import Mapping
from pathlib import Path

from mbert_cli.data.text_output import csv_line, full
from mbert_cli.messages import one_line
from mbert_cli.reports.html import html_page
from mbert_cli.reports.markdown import markdown_page
from mbert_cli.reports.run_report import TaskMetric
from mbert_cli.storage.atomic import replace_file
from mbert_cli.sweeps.folder import FIGURE, SEARCH_FIGURE, TABLES
from mbert_cli.sweeps.ranges import as_json
from mbert_cli.sweeps.results import RowResult, Spread, SweepResult
from mbert_cli.sweeps.table import table_of


def write_tables(folder: Path, result: SweepResult, figure: bytes | None = None) -> None:
    """Write the table in all formats; each file is replaced atomically.

    Args:
        folder: an existing folder.
        result: the results.
        figure: a PNG, written as a file and embedded into the HTML page.

    Raises:
        ResourceError: the disk is full.
        UsageError: the folder is not writable.
    """
    for name, text in zip(TABLES, (as_tsv(result), as_markdown(result), as_html(result, figure)), strict=True):
        replace_file(folder / name, text)
    if figure is not None:
        replace_file(folder / (FIGURE if result.search is None else SEARCH_FIGURE), figure)


def as_markdown(result: SweepResult) -> str:
    """Return the results as Markdown: one table per group, the best scores of a column in bold."""
    return markdown_page("sweep.md", table=table_of(result))


def as_html(result: SweepResult, figure: bytes | None = None) -> str:
    """Return the results as one HTML page, which embeds the figure."""
    table = table_of(result)
    image = "" if figure is None else base64.b64encode(figure).decode("ascii")
    described = "overall scores against parameters that train" if result.search is None else "importance of the ranges"
    return html_page("sweep.html", title=table.title, table=table, figure=image, described=described)


_BEFORE_SCORES = ("group", "row", "seeds", "done")
_AFTER_SCORES = (
    "published_in",
    "kept_epochs",
    "encoder_parameters",
    "adapter_parameters",
    "times_encoder",
    "train_seconds",
    "trained_on",
    "runs",
)


def as_tsv(result: SweepResult) -> str:
    """Return the results as TSV with unrounded numbers; each score has a mean, minimum, maximum and published value."""
    names = [*(f"{task}_{metric}" for task, metric in result.columns), "overall"]
    scores = [f"{name}_{part}" for name in names for part in ("mean", "min", "max", "published")]
    trial = [] if result.search is None else ["state", "epochs", *(each.key for each in result.search.ranges)]
    lines = [csv_line([*_BEFORE_SCORES, *scores, *_AFTER_SCORES, *trial], "\t", is_header=True)]
    lines += [csv_line([full(cell) for cell in _tsv_cells(row, result.columns)], "\t") for row in result.rows]
    return "".join(lines)


def _tsv_cells(row: RowResult, columns: list[TaskMetric]) -> list[str | int | float | None]:
    published = row.published
    scores: list[float | None] = []
    for column in columns:
        scores += [*_numbers(row.tasks.get(column)), published.tasks.get(column) if published else None]
    scores += [*_numbers(row.overall), published.overall if published else None]
    parameters: Mapping[str, int] = row.reports[0].parameters if row.reports else {}
    return [
        one_line(row.row.group),
        one_line(row.row.name),
        " ".join(map(str, row.row.seeds)),
        len(row.reports),
        *scores,
        one_line(published.name) if published else None,
        " ".join(map(str, row.kept_epochs)),
        parameters.get("encoder"),
        parameters.get("adapters"),
        row.times_encoder,
        None if row.train_seconds is None else round(row.train_seconds, 3),
        "; ".join(row.hardware),
        " ".join(run.name for run in row.runs),
        *_trial_cells(row),
    ]


def _trial_cells(row: RowResult) -> list[str | int | float | None]:
    """Return the state and the values of a trial; nothing for a row of a plan."""
    if not row.row.values:
        return []
    values = row.row.values.values()
    cells = [one_line(value) if isinstance(value, str) else as_json(value) for value in values]
    return [row.states[0].status, row.states[0].epochs, *cells]


def _numbers(spread: Spread | None) -> list[float | None]:
    return [None, None, None] if spread is None else [spread.mean, spread.lowest, spread.highest]
