"""The part of the page of `mbert report` for one run."""

from collections.abc import Sequence
from dataclasses import dataclass

from mbert_cli.messages import one_line
from mbert_cli.metrics import describe_overall
from mbert_cli.recipe.ending import why_ended
from mbert_cli.recipe.sections import as_spec
from mbert_cli.recipe.training_options import training_options
from mbert_cli.recipe.yaml_text import dump
from mbert_cli.reports.bootstrap import METHOD, interval_text
from mbert_cli.reports.page_task import TaskPart, task_parts
from mbert_cli.reports.page_text import score_text, with_short_lists
from mbert_cli.reports.run_report import RunReport, TaskMetric
from mbert_cli.reports.svg_chart import LEAST_SCORE_SPAN, Chart, line_chart, share_chart
from mbert_cli.storage.metrics_file import METRICS_FILE, EpochRecord, read_metrics
from mbert_cli.terminal.throughput import duration


@dataclass(frozen=True)
class RunPart:
    """The values that the template shows for one run."""

    name: str
    facts: list[tuple[str, str]]
    overall: str
    overall_interval: str
    overall_meaning: str
    method: str
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


def run_part(run: RunReport) -> RunPart:
    """Return the part of the page for a run."""
    records = read_metrics(run.path / METRICS_FILE)
    columns = list(run.scores.tasks)
    round_name = run.kept.round_name
    headings, epochs = _epochs(records, columns, round_name)
    return RunPart(
        name=one_line(str(run.path)),
        facts=[(name, one_line(value)) for name, value in _facts(run)],
        overall=score_text(run.scores.overall),
        overall_interval=interval_text(run.intervals.overall),
        method=METHOD if run.intervals.tasks else "",
        overall_meaning=one_line(describe_overall(dict(columns))),
        against=_against(run),
        tasks=task_parts(run),
        charts=_charts(records, columns, run.kept.epoch, round_name),
        epochs=epochs,
        headings=headings,
        kept=run.kept.epoch,
        parameters=_parameters(run),
        drift=[one_line(each) for each in records[-1].drift],
        note=one_line(run.note),
        recipe=dump(with_short_lists(as_spec(run.recipe))),
    )


def _facts(run: RunReport) -> list[tuple[str, str]]:
    recipe = run.recipe
    return [
        ("encoder", recipe.encoder.checkpoint),
        ("adapters", recipe.describe_adapters()),
        ("pooling", recipe.pooling.describe()),
        ("loss balancing", recipe.loss_balancing.describe()),
        ("curriculum", recipe.curriculum.describe()),
        ("members of the ensemble" if recipe.training.members > 1 else f"{run.kept.round_name}s", _rounds(run)),
        ("training", duration(run.train_seconds)),
        *training_options(recipe).items(),
        ("seed", str(recipe.training.seed)),
        ("parameters", f"{run.parameters['all']:,}"),
        ("computed on", run.hardware),
    ]


def _rounds(run: RunReport) -> str:
    training, kept = run.recipe.training, run.kept.epoch
    finished = f"{run.epochs} of {training.rounds} trained" if training.rounds else str(run.epochs)
    if training.members > 1:
        return f"{finished}; the saved model combines the first {kept}"
    early = f"; ended early: {why_ended(run.ended, training)}" if run.ended is not None else ""
    return f"{finished}; the model of {run.kept.round_name} {kept} is kept{early}"


def _against(run: RunReport) -> str:
    reference, difference = run.reference, run.difference
    if reference is None or difference is None or difference.overall is None:
        return ""
    return f"{difference.overall:+.3f} against {score_text(reference.overall)} of {one_line(reference.name)}"


def _charts(records: Sequence[EpochRecord], columns: Sequence[TaskMetric], kept: int, round_name: str) -> list[Chart]:
    """Return the charts of a run: scores and losses over the epochs, and how the curriculum mixed the tasks."""
    scores = {
        f"{one_line(task)} {metric}": {
            record.epoch: float(record.tasks[task][metric]) for record in records if task in record.tasks
        }
        for task, metric in columns
    }
    scores["overall"] = {record.epoch: record.overall for record in records if record.overall is not None}
    losses = {
        one_line(task): {record.epoch: record.train_loss[task] for record in records if task in record.train_loss}
        for task, _ in columns
    }
    # In the recipe's order, so that a task has the same colour in all charts.
    rows = {record.epoch: {one_line(task): record.rows.get(task, 0) for task, _ in columns} for record in records}
    mark = (kept, f"{round_name} {kept} is kept")
    charts = [
        line_chart("Scores on dev", scores, "overall", mark, round_name, LEAST_SCORE_SPAN),
        line_chart("Training loss", losses, None, mark, round_name),
        share_chart("Rows that each task trained on", rows, round_name),
    ]
    return [chart for chart in charts if chart is not None]


def _epochs(
    records: Sequence[EpochRecord], columns: Sequence[TaskMetric], round_name: str
) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the table of epochs, without empty columns."""
    headings = [
        round_name, *(f"{one_line(task)} {metric}" for task, metric in columns), "overall", "steps", "order",
        "training", "dev", "tokens/s",
    ]  # fmt: skip
    rows = [_epoch(record, columns) for record in records]
    filled = [number for number in range(len(headings)) if any(row[number] for row in rows)]
    return [headings[number] for number in filled], [[row[number] for number in filled] for row in rows]


def _epoch(record: EpochRecord, columns: Sequence[TaskMetric]) -> list[str]:
    seconds = record.seconds
    speed = f"{record.tokens / seconds.train:,.0f}" if seconds.train else ""
    scores = [score_text(record.tasks.get(task, {}).get(metric)) for task, metric in columns]
    return [
        str(record.epoch), *scores, score_text(record.overall), f"{record.step:,}", record.phases,
        duration(seconds.train), duration(seconds.dev), speed,
    ]  # fmt: skip


def _parameters(run: RunReport) -> list[tuple[str, str, str]]:
    """Return for each part of the model its name, its number of parameters, and that relative to the encoder."""
    parts = {**run.parameters}
    parts["heads and pooling"] = parts["all"] - parts["encoder"] - parts["adapters"]
    order = ("encoder", "adapters", "heads and pooling", "all")
    return [(name, f"{parts[name]:,}", f"{parts[name] / parts['encoder']:.2%}") for name in order]
