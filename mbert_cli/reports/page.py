"""The HTML page of `mbert report`: what runs are made of, how they went, what they get wrong. No torch here."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mbert_cli.messages import one_line
from mbert_cli.recipe.differences import flat
from mbert_cli.recipe.sections import as_spec
from mbert_cli.recipe.yaml_text import dump
from mbert_cli.reports.best import MEANING
from mbert_cli.reports.html import html_page
from mbert_cli.reports.page_task import TaskPart, task_parts
from mbert_cli.reports.run_report import RunReport, Scores, TaskMetric, best_scores
from mbert_cli.reports.svg_chart import Chart, line_chart, share_chart
from mbert_cli.storage.metrics_file import METRICS_FILE, EpochRecord, read_metrics
from mbert_cli.terminal.throughput import duration

_MOST_TASKS_SIDE_BY_SIDE = 11
_LEAST_SPAN = 0.05  # of an axis of accuracies, correlations and their mean
_MOST_ENTRIES = 100  # of a list of a recipe
_HIDDEN_IN_DIFFERENCES = ("training.state_every", "training.keep", "reference")


@dataclass(frozen=True)
class _Run:
    """What the page tells of one run."""

    name: str
    facts: list[tuple[str, str]]
    overall: str
    against: str
    tasks: list[TaskPart]
    charts: list[Chart]
    epochs: list[list[str]]
    headings: list[str]
    kept: int
    parameters: list[tuple[str, str, str]]
    drift: list[str]
    note: str
    recipe: str


def report_page(runs: Sequence[RunReport]) -> str:
    """Return the page of some runs, in one file that needs nothing else."""
    shown = [_run(run) for run in runs]
    title = runs[0].path.name if len(runs) == 1 else f"{len(runs)} runs"
    return html_page(
        "report.html",
        title=one_line(title),
        runs=shown,
        comparison=_comparison(runs) if len(runs) > 1 else None,
        progress=_progress_of_all(runs) if len(runs) > 1 else [],
        differences=_differences(runs) if len(runs) > 1 else [],
        names=[one_line(str(run.path)) for run in runs],
    )


def _run(run: RunReport) -> _Run:
    lines = read_metrics(run.path / METRICS_FILE)
    metrics = list(run.scores.tasks)
    recipe = run.recipe
    rounds = "epoch" if recipe.training.members == 1 else "member"
    facts = [
        ("encoder", recipe.encoder.checkpoint),
        ("adapters", recipe.describe_adapters()),
        ("pooling", recipe.pooling.describe()),
        ("loss balancing", recipe.loss_balancing.describe()),
        ("curriculum", recipe.curriculum.describe()),
        ("epochs" if recipe.training.members == 1 else "members of the ensemble", _rounds(run)),
        ("training", duration(run.train_seconds)),
        ("seed", str(recipe.training.seed)),
    ]
    facts += [("parameters", f"{run.parameters['all']:,}"), ("computed on", run.hardware)]
    headings, epochs = _epochs(lines, metrics, rounds)
    return _Run(
        name=one_line(str(run.path)),
        facts=[(name, one_line(value)) for name, value in facts],
        overall=_number(run.scores.overall),
        against=_against(run),
        tasks=task_parts(run),
        charts=_charts(lines, metrics, run.kept.epoch, rounds),
        epochs=epochs,
        headings=headings,
        kept=run.kept.epoch,
        parameters=_parameters(run),
        drift=[one_line(each) for each in lines[-1].drift],
        note=one_line(run.note),
        recipe=dump(_shortened(as_spec(recipe))),
    )


def _rounds(run: RunReport) -> str:
    kept, what = run.kept.epoch, f"{run.epochs} of {run.recipe.training.rounds}"
    if run.recipe.training.members > 1:
        return f"{what}; that of the first {kept} is kept"
    return f"{what}; the model of epoch {kept} is kept"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _against(run: RunReport) -> str:
    reference, difference = run.reference, run.difference
    if reference is None or difference is None or difference.overall is None:
        return ""
    return f"{difference.overall:+.3f} against {_number(reference.overall)} of {one_line(reference.name)}"


def _charts(lines: Sequence[EpochRecord], metrics: Sequence[tuple[str, str]], kept: int, rounds: str) -> list[Chart]:
    """Return the curves of a run, and how its curriculum mixed the tasks."""
    scores = {
        f"{one_line(task)} {metric}": {
            line.epoch: float(line.tasks[task][metric]) for line in lines if task in line.tasks
        }
        for task, metric in metrics
    }
    scores["overall"] = {line.epoch: line.overall for line in lines if line.overall is not None}
    losses = {
        one_line(task): {line.epoch: line.train_loss[task] for line in lines if task in line.train_loss}
        for task, _ in metrics
    }
    # In the recipe's order, so that a task has one colour in all charts.
    rows = {line.epoch: {one_line(task): line.rows.get(task, 0) for task, _ in metrics} for line in lines}
    mark = (kept, f"{rounds} {kept} is kept")
    found = [
        line_chart("Scores on dev", scores, "overall", mark, rounds, _LEAST_SPAN),
        line_chart("Training loss", losses, None, mark, rounds),
        share_chart("Rows that each task trained on", rows, rounds),
    ]
    return [chart for chart in found if chart is not None]


def _epochs(
    lines: Sequence[EpochRecord], metrics: Sequence[tuple[str, str]], rounds: str
) -> tuple[list[str], list[list[str]]]:
    """Return the table of a run's epochs, its headings first, without columns that have nothing to tell."""
    headings = [
        rounds, *(f"{one_line(task)} {metric}" for task, metric in metrics), "overall", "steps", "order", "training",
        "dev", "tokens/s",
    ]  # fmt: skip
    rows = [_epoch(line, metrics) for line in lines]
    told = [number for number in range(len(headings)) if any(row[number] for row in rows)]
    return [headings[number] for number in told], [[row[number] for number in told] for row in rows]


def _epoch(line: EpochRecord, metrics: Sequence[tuple[str, str]]) -> list[str]:
    seconds = line.seconds
    speed = f"{line.tokens / seconds.train:,.0f}" if seconds.train else ""
    scores = [_number(line.tasks.get(task, {}).get(metric)) for task, metric in metrics]
    return [
        str(line.epoch), *scores, _number(line.overall), f"{line.step:,}", line.phases, duration(seconds.train),
        duration(seconds.dev), speed,
    ]  # fmt: skip


def _parameters(run: RunReport) -> list[tuple[str, str, str]]:
    parts = {**run.parameters}
    parts["heads and pooling"] = parts["all"] - parts["encoder"] - parts["adapters"]
    order = ("encoder", "adapters", "heads and pooling", "all")
    return [(name, f"{parts[name]:,}", f"{parts[name] / parts['encoder']:.2%}") for name in order]


def _comparison(runs: Sequence[RunReport]) -> dict[str, Any]:
    """Return the scores of runs, and of what they are compared with, side by side; the best of the runs marked."""
    columns = list(dict.fromkeys(metric for run in runs for metric in run.scores.tasks))
    lines = []
    for run, marks in zip(runs, best_scores(runs, columns), strict=True):
        size = f"{run.parameters['all'] / 1e6:.1f}M"
        facts = [one_line(run.recipe.describe_adapters()), size, duration(run.train_seconds)]
        lines.append((one_line(str(run.path)), _cells(run.scores, columns, marks), facts, False))
        if run.reference is not None:
            lines.append(
                (
                    one_line(run.reference.name),
                    _cells(run.reference, columns, [False] * (len(columns) + 1)),
                    [""] * 3,
                    True,
                )
            )
    tasks = [f"{one_line(task)} {metric}" for task, metric in columns]
    headings = [*tasks, "overall", "adapters", "parameters", "training"]
    return {"headings": headings, "lines": lines, "meaning": MEANING}


def _have_the_same_tasks(runs: Sequence[RunReport]) -> bool:
    """Whether the overall scores of runs are means over the same."""
    return len({frozenset(run.scores.tasks) for run in runs}) == 1


def _cells(scores: Scores, columns: Sequence[TaskMetric], marks: Sequence[bool]) -> list[tuple[str, bool]]:
    values = [*(scores.tasks.get(each) for each in columns), scores.overall]
    return [(_number(value), mark) for value, mark in zip(values, marks, strict=True)]


def _progress_of_all(runs: Sequence[RunReport]) -> list[Chart]:
    """Return the curves of all runs, overall and of each task that more than one of them has."""
    lines = {one_line(str(run.path)): read_metrics(run.path / METRICS_FILE) for run in runs}
    found = []
    if _have_the_same_tasks(runs):
        scores = {
            name: {line.epoch: line.overall for line in own if line.overall is not None} for name, own in lines.items()
        }
        found.append(line_chart("Overall score on dev", scores, least_span=_LEAST_SPAN))
    metrics = Counter(metric for run in runs for metric in run.scores.tasks)
    for task, metric in [each for each, number in metrics.items() if number > 1][:_MOST_TASKS_SIDE_BY_SIDE]:
        scores = {
            name: {line.epoch: float(line.tasks[task][metric]) for line in own if task in line.tasks}
            for name, own in lines.items()
        }
        found.append(line_chart(f"{one_line(task)} {metric} on dev", scores, least_span=_LEAST_SPAN))
    return [chart for chart in found if chart is not None]


def _differences(runs: Sequence[RunReport]) -> list[tuple[str, list[str]]]:
    """Return the keys that recipes differ in, with each one's value."""
    recipes = [flat(as_spec(run.recipe)) for run in runs]
    found = []
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values = [_as_written(recipe.get(key)) for recipe in recipes]
        if len(set(values)) > 1 and not key.startswith(_HIDDEN_IN_DIFFERENCES):
            found.append((one_line(key), [one_line(value) for value in values]))
    return found


def _shortened(value: Any) -> Any:
    """Return a part of a recipe with its long lists cut, such as the names of a thousand classes."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list) and len(value) > _MOST_ENTRIES:
        more = f"... and {len(value) - _MOST_ENTRIES:,} more, in recipe.yaml"
        return [*map(_shortened, value[:_MOST_ENTRIES]), more]
    return [_shortened(each) for each in value] if isinstance(value, list) else value


def _as_written(value: Any) -> str:
    """Return a value as a recipe would hold it in one line."""
    if value is None:
        return ""
    if not isinstance(value, list | dict):
        return str(value)
    text = yaml.safe_dump(
        _shortened(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return str(text).strip()
