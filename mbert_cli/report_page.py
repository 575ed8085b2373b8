"""The HTML page of `mbert report`: what runs are made of, how they went, what they get wrong. No torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.charts import Chart, line_chart, scatter_chart, share_chart
from mbert_cli.errors import one_line
from mbert_cli.evaluation_files import PREDICTIONS, read_numbers, read_summary
from mbert_cli.html_page import html_page
from mbert_cli.metrics_file import METRICS_FILE, main_metric, read_metrics
from mbert_cli.pace import duration
from mbert_cli.recipe import as_spec, flat
from mbert_cli.reporting import RunReport, Scores
from mbert_cli.run_folder import RunFolder
from mbert_cli.top_errors import TopError, top_errors, with_texts

_MOST_ERRORS = 8
_MOST_LABELS = 20  # of a confusion matrix that is shown as one
_MOST_TEXT = 400
_HIDDEN_IN_DIFFERENCES = ("training.state_every", "training.keep", "reference")


@dataclass(frozen=True)
class _Task:
    """What the page tells of one task of a run."""

    name: str
    file: str
    metric: str
    score: float
    reference: float | None
    numbers: list[tuple[str, str]]
    classes: list[tuple[str, ...]]
    labels: list[str]
    confusion: list[tuple[str, list[tuple[int, float]]]]
    confused: list[tuple[str, str, int]]
    scatter: Chart | None
    errors: list[TopError]
    are_numbers: bool


@dataclass(frozen=True)
class _Run:
    """What the page tells of one run."""

    name: str
    facts: list[tuple[str, str]]
    overall: str
    against: str
    tasks: list[_Task]
    charts: list[Chart]
    epochs: list[list[str]]
    headings: list[str]
    kept: int
    parameters: list[tuple[str, str, str]]
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
        progress=_progress_of_all(runs) if len(runs) > 1 else None,
        differences=_differences(runs) if len(runs) > 1 else [],
        names=[one_line(str(run.path)) for run in runs],
    )


def _run(run: RunReport) -> _Run:
    lines = read_metrics(run.path / METRICS_FILE)
    metrics = list(run.scores.tasks)
    recipe = run.recipe
    facts = [
        ("encoder", recipe.encoder.checkpoint),
        ("adapters", " + ".join(each.kind for each in recipe.adapters) or "none"),
        ("pooling", recipe.pooling.kind),
        ("loss balancing", recipe.loss_balancing.kind),
        ("curriculum", recipe.curriculum.kind),
        ("epochs" if recipe.training.members == 1 else "members of the ensemble", _rounds(run)),
        ("training", duration(run.train_seconds)),
        ("seed", str(recipe.training.seed)),
    ]
    if run.parameters:
        facts.append(("parameters", f"{run.parameters['all']:,}"))
    return _Run(
        name=one_line(str(run.path)),
        facts=[(name, one_line(value)) for name, value in facts],
        overall=_number(run.scores.overall),
        against=_against(run),
        tasks=_tasks(run),
        charts=_charts(lines, metrics, int(run.kept["epoch"])),
        epochs=[_epoch(line, metrics) for line in lines],
        headings=[
            "epoch", *(f"{one_line(task)} {metric}" for task, metric in metrics), "overall", "steps", "order",
            "training", "dev", "tokens/s",
        ],
        kept=int(run.kept["epoch"]),
        parameters=_parameters(run),
        recipe=recipe.to_yaml(),
    )  # fmt: skip


def _rounds(run: RunReport) -> str:
    kept, what = run.kept["epoch"], f"{run.epochs} of {run.recipe.training.rounds}"
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


def _charts(lines: Sequence[Mapping[str, Any]], metrics: Sequence[tuple[str, str]], kept: int) -> list[Chart]:
    """Return the curves of a run, and how its curriculum mixed the tasks."""
    scores = {
        f"{one_line(task)} {metric}": {line["epoch"]: float(line["tasks"][task][metric]) for line in lines}
        for task, metric in metrics
    }
    scores["overall"] = {line["epoch"]: float(line["overall"]) for line in lines if line["overall"] is not None}
    trained = {line["epoch"]: line.get("train_loss", {}) for line in lines}
    losses = {
        one_line(task): {epoch: float(found[task]) for epoch, found in trained.items() if task in found}
        for task, _ in metrics
    }
    rows = {line["epoch"]: {one_line(task): n for task, n in line["rows"].items()} for line in lines if "rows" in line}
    mark = (kept, f"epoch {kept} is kept")
    found = [
        line_chart("Scores on dev", scores, "overall", mark),
        line_chart("Training loss", losses, None, mark),
        share_chart("Rows that each task trained on", rows),
    ]
    return [chart for chart in found if chart is not None]


def _epoch(line: Mapping[str, Any], metrics: Sequence[tuple[str, str]]) -> list[str]:
    seconds = line["seconds"]
    speed = f"{line['tokens'] / seconds['train']:,.0f}" if line.get("tokens") and seconds["train"] else ""
    scores = [_number(line["tasks"][task][metric]) for task, metric in metrics]
    steps = f"{line['step']:,}" if "step" in line else ""
    return [
        str(line["epoch"]), *scores, _number(line["overall"]), steps, str(line.get("phases", "")),
        duration(seconds["train"]), duration(seconds.get("dev", 0.0)), speed,
    ]  # fmt: skip


def _parameters(run: RunReport) -> list[tuple[str, str, str]]:
    if not run.parameters:
        return []
    parts = {**run.parameters}
    parts["heads and pooling"] = parts["all"] - parts["encoder"] - parts["adapters"]
    order = ("encoder", "adapters", "heads and pooling", "all")
    return [(name, f"{parts[name]:,}", f"{parts[name] / parts['encoder']:.2%}") for name in order]


def _tasks(run: RunReport) -> list[_Task]:
    folder = RunFolder(run.path).evaluation
    summary = read_summary(folder).get("tasks", {})
    reference = {} if run.reference is None else {task: value for (task, _), value in run.reference.tasks.items()}
    found = []
    for name, kept in run.kept["tasks"].items():
        metrics = {**kept, **summary.get(name, {})}
        metric = main_metric(metrics)
        labels = metrics.get("labels")
        has_predictions = (folder / f"{name}{PREDICTIONS}").is_file()
        errors = top_errors(folder, name, labels, _MOST_ERRORS) if has_predictions else []
        file = str(metrics.get("file", run.recipe.tasks[name].dev))
        found.append(
            _Task(
                name=one_line(name),
                file=one_line(file),
                metric=metric,
                score=float(metrics[metric]),
                reference=reference.get(name),
                numbers=_numbers(metrics),
                classes=_classes(metrics),
                labels=[one_line(label) for label in labels or []],
                confusion=_confusion(metrics),
                confused=_confused(metrics),
                scatter=_scatter(folder, name) if has_predictions and labels is None else None,
                errors=[_shown(each) for each in with_texts(errors, file, run.recipe.tasks[name])],
                are_numbers=labels is None,
            )
        )
    return found


_NAMES = {
    "examples": "rows", "accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1",
    "ece": "calibration error", "pearson": "Pearson", "spearman": "Spearman", "mse": "mean squared error",
    "mae": "mean absolute error", "r2": "R²", "loss": "loss",
}  # fmt: skip


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key, name in _NAMES.items():
        value = metrics.get(key)
        if isinstance(value, int | float):
            found.append((name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}"))
    decision = metrics.get("decision") or {}
    if decision.get("criterion"):
        found.append((f"threshold for {decision['criterion']}", f"{decision['threshold']:.4f}"))
    if decision.get("temperature", 1.0) != 1.0:
        found.append(("temperature", f"{decision['temperature']:.3f}"))
    return found


def _classes(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (one_line(label), *(_number(each[key]) for key in ("precision", "recall", "f1")), f"{each['support']:,}")
        for label, each in metrics.get("per_class", {}).items()
    ]


def _confusion(metrics: Mapping[str, Any]) -> list[tuple[str, list[tuple[int, float]]]]:
    labels = metrics.get("labels", [])
    if not 0 < len(labels) <= _MOST_LABELS:
        return []
    rows = zip(labels, metrics["confusion"], metrics["confusion_shares"], strict=True)
    return [(one_line(label), list(zip(counts, shares, strict=True))) for label, counts, shares in rows]


def _confused(metrics: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return which labels are taken for which most often, where there are too many for a matrix."""
    labels = metrics.get("labels", [])
    if len(labels) <= _MOST_LABELS:
        return []
    cells = [
        (one_line(labels[i]), one_line(labels[j]), count)
        for i, row in enumerate(metrics["confusion"])
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(cells, key=lambda cell: -cell[2])[:_MOST_LABELS]


def _scatter(folder: Path, name: str) -> Chart | None:
    return scatter_chart("Predictions against labels", *read_numbers(folder / f"{name}{PREDICTIONS}", "label", "pred"))


def _shown(error: TopError) -> TopError:
    texts = tuple(
        one_line(text) if len(text) <= _MOST_TEXT else f"{one_line(text[:_MOST_TEXT])}…" for text in error.texts
    )
    return TopError(error.line, one_line(error.label), _short(error.predicted), error.size, texts)


def _short(predicted: str) -> str:
    """Return a label, or a number with three digits."""
    try:
        return f"{float(predicted):.3g}"
    except ValueError:
        return one_line(predicted)


def _comparison(runs: Sequence[RunReport]) -> dict[str, Any]:
    """Return the scores of runs, and of what they are compared with, side by side; the best of the runs marked."""
    columns = list(dict.fromkeys(metric for run in runs for metric in run.scores.tasks))
    best = [max((run.scores.tasks[each] for run in runs if each in run.scores.tasks), default=None) for each in columns]
    overall = [run.scores.overall for run in runs if run.scores.overall is not None]
    best.append(max(overall, default=None))
    lines = []
    for run in runs:
        lines.append((one_line(str(run.path)), _cells(run.scores, columns, best), False))
        if run.reference is not None:
            lines.append((one_line(run.reference.name), _cells(run.reference, columns, None), True))
    return {"headings": [*(f"{one_line(task)} {metric}" for task, metric in columns), "overall"], "lines": lines}


def _cells(scores: Scores, columns: Sequence[tuple[str, str]], best: Sequence[float | None] | None) -> list[Any]:
    values = [*(scores.tasks.get(each) for each in columns), scores.overall]
    return [
        (_number(value), best is not None and value is not None and value == best[i]) for i, value in enumerate(values)
    ]


def _progress_of_all(runs: Sequence[RunReport]) -> Chart | None:
    lines = {one_line(str(run.path)): read_metrics(run.path / METRICS_FILE) for run in runs}
    scores = {
        name: {line["epoch"]: float(line["overall"]) for line in own if line["overall"]} for name, own in lines.items()
    }
    return line_chart("Overall score on dev", scores)


def _differences(runs: Sequence[RunReport]) -> list[tuple[str, list[str]]]:
    """Return the keys that recipes differ in, with each one's value."""
    recipes = [flat(as_spec(run.recipe)) for run in runs]
    found = []
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values = ["" if recipe.get(key) is None else str(recipe[key]) for recipe in recipes]
        if len(set(values)) > 1 and not key.startswith(_HIDDEN_IN_DIFFERENCES):
            found.append((one_line(key), [one_line(value) for value in values]))
    return found
