"""The part of the page of `mbert report` that compares several runs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mbert_cli.messages import one_line
from mbert_cli.recipe.differences import SAVING, flat
from mbert_cli.recipe.sections import as_spec
from mbert_cli.reports.best import MEANING
from mbert_cli.reports.bootstrap import interval_text
from mbert_cli.reports.page_text import score_text, with_short_lists
from mbert_cli.reports.run_report import RunReport, Scores, TaskMetric, best_scores
from mbert_cli.reports.score_intervals import NO_INTERVALS, ScoreIntervals
from mbert_cli.reports.svg_chart import LEAST_SCORE_SPAN, Chart, line_chart
from mbert_cli.storage.metrics_file import METRICS_FILE, read_metrics
from mbert_cli.terminal.throughput import duration

_MOST_TASKS = 11  # that have a chart
# They do not change a result.
_HIDDEN_KEYS = (*(f"training.{key}" for key in SAVING), "reference")


def comparison_of(runs: Sequence[RunReport]) -> dict[str, Any]:
    """Return the table of runs and their references, with the best scores of the runs marked."""
    columns = list(dict.fromkeys(column for run in runs for column in run.scores.tasks))
    lines = []
    all_marks = best_scores(runs, columns)
    for run, marks in zip(runs, all_marks, strict=True):
        size = f"{run.parameters['all'] / 1e6:.1f}M"
        facts = [one_line(run.recipe.describe_adapters()), size, duration(run.train_seconds)]
        lines.append((one_line(str(run.path)), _cells(run.scores, columns, marks, run.intervals), facts, False))
        if run.reference is not None:
            cells = _cells(run.reference, columns, [False] * len(marks))
            lines.append((one_line(run.reference.name), cells, [""] * len(facts), True))
    tasks = [f"{one_line(task)} {metric}" for task, metric in columns]
    headings = [*tasks, "overall", "adapters", "parameters", "training"]
    return {"headings": headings, "lines": lines, "meaning": MEANING if any(any(marks) for marks in all_marks) else ""}


def _cells(
    scores: Scores, columns: Sequence[TaskMetric], marks: Sequence[bool], intervals: ScoreIntervals = NO_INTERVALS
) -> list[tuple[str, bool, str]]:
    """Return for each score its text, whether it is marked, and its interval."""
    values = [*(scores.tasks.get(column) for column in columns), scores.overall]
    ends = [*(intervals.tasks.get(task) for task, _ in columns), intervals.overall]
    return [
        (score_text(value), mark, interval_text(each)) for value, mark, each in zip(values, marks, ends, strict=True)
    ]


def progress_of(runs: Sequence[RunReport]) -> list[Chart]:
    """Return charts of all runs over the epochs: the overall score, and each task that several runs have.

    If a run has evaluations within epochs, the charts are over the steps.

    The overall scores are only compared if all runs have the same tasks.
    """
    histories = {one_line(str(run.path)): read_metrics(run.path / METRICS_FILE) for run in runs}
    charts = []
    within = any(record.of_epoch is not None for records in histories.values() for record in records)
    place = "step" if within else "epoch"
    if len({frozenset(run.scores.tasks) for run in runs}) == 1:
        overall = {
            name: {getattr(record, place): record.overall for record in records if record.overall is not None}
            for name, records in histories.items()
        }
        charts.append(_chart_of_scores("Overall score on dev", overall, place))
    runs_with = Counter(column for run in runs for column in run.scores.tasks)
    shared = [column for column, number in runs_with.items() if number > 1]
    for task, metric in shared[:_MOST_TASKS]:
        scores = {
            name: {
                getattr(record, place): float(record.tasks[task][metric]) for record in records if task in record.tasks
            }
            for name, records in histories.items()
        }
        charts.append(_chart_of_scores(f"{one_line(task)} {metric} on dev", scores, place))
    return [chart for chart in charts if chart is not None]


def _chart_of_scores(title: str, scores: Mapping[str, Mapping[int, float]], place: str) -> Chart | None:
    return line_chart(title, scores, round_name=place, least_span=LEAST_SCORE_SPAN)


def differences_of(runs: Sequence[RunReport]) -> list[tuple[str, list[str]]]:
    """Return the keys in which the recipes differ, each with its value in every recipe."""
    recipes = [flat(as_spec(run.recipe)) for run in runs]
    differences = []
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values = [_as_written(recipe.get(key)) for recipe in recipes]
        if len(set(values)) > 1 and not key.startswith(_HIDDEN_KEYS):
            differences.append((one_line(key), [one_line(value) for value in values]))
    return differences


def _as_written(value: Any) -> str:
    """Return a value as one line of YAML."""
    if value is None:
        return ""
    if not isinstance(value, list | dict):
        return str(value)
    text = yaml.safe_dump(
        with_short_lists(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return str(text).strip()
