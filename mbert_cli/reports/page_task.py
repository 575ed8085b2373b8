"""The part of the page of `mbert report` for one task: its scores, its confusion matrix and its largest errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.messages import one_line
from mbert_cli.metrics import SCALAR_METRICS
from mbert_cli.reports.bootstrap import interval_text
from mbert_cli.reports.confusion import Confusion, frequent_classes
from mbert_cli.reports.evaluation_folder import PREDICTIONS, read_numbers, read_summary
from mbert_cli.reports.largest_errors import TopError, top_errors, with_texts
from mbert_cli.reports.page_text import short_text
from mbert_cli.reports.run_report import RunReport
from mbert_cli.reports.svg_chart import Chart, scatter_chart
from mbert_cli.storage.run_folder import RunFolder

_MOST_ERRORS = 8
_MOST_LABELS = 20  # of a confusion matrix; with more labels, the page lists the most frequent mistakes
_MOST_CLASSES = 40  # of the table of classes


@dataclass(frozen=True)
class TaskPart:
    """The values that the template shows for one task of a run."""

    name: str
    file: str
    metric: str
    score: float
    interval: str
    reference: float | None
    numbers: list[tuple[str, str]]
    classes: list[tuple[str, ...]]
    classes_note: str
    labels: list[str]
    confusion: list[tuple[str, list[tuple[int, float]]]]
    confused: list[tuple[str, str, int]]
    scatter: Chart | None
    errors: list[TopError]
    are_numbers: bool


def task_parts(run: RunReport) -> list[TaskPart]:
    """Return the parts of the page for the tasks of a run."""
    folder = RunFolder(run.path).evaluation
    summary = read_summary(folder).get("tasks", {})
    reference = {} if run.reference is None else {task: value for (task, _), value in run.reference.tasks.items()}
    parts = []
    for name, kept in run.kept.tasks.items():
        metrics = {**kept, **summary.get(name, {})}
        metric = metrics["main_metric"]
        labels, confusion = metrics.get("labels"), Confusion.of(metrics)
        classes, note = frequent_classes(metrics, _MOST_CLASSES) if labels is not None else ({}, "")
        has_predictions = (folder / f"{name}{PREDICTIONS}").is_file()
        errors = top_errors(folder, name, labels, _MOST_ERRORS, metrics.get("delimiter")) if has_predictions else []
        file = str(metrics.get("file", run.recipe.tasks[name].dev))
        is_other = metrics.get("split", "dev") is None
        parts.append(
            TaskPart(
                name=one_line(name),
                file=one_line(f"{file}, sha256 {metrics['sha256']}" if is_other and metrics.get("sha256") else file),
                metric=metric,
                score=float(metrics[metric]),
                interval=interval_text(run.intervals.tasks.get(name)),
                reference=reference.get(name),
                numbers=_numbers(metrics),
                classes=_classes(classes),
                classes_note=note or "each class by itself",
                labels=[one_line(label) for label in labels or []],
                confusion=_confusion(confusion),
                confused=_confused(confusion),
                scatter=_scatter(folder, name) if has_predictions and labels is None else None,
                errors=[_shown(each) for each in with_texts(errors, file, run.recipe.tasks[name])],
                are_numbers=labels is None,
            )
        )
    return parts


_TITLES = {"examples": "rows", "cut": "rows cut"} | {name: info.title for name, info in SCALAR_METRICS.items()}


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    numbers = []
    for key, title in _TITLES.items():
        value = metrics.get(key)
        if isinstance(value, int | float) and (value or key != "cut"):
            numbers.append((title, f"{value:,}" if isinstance(value, int) else f"{value:.4f}"))
    decision = metrics.get("decision") or {}
    if decision.get("criterion"):
        value = f"{decision['threshold']:.4f}" if "threshold" in decision else "one for each label"
        numbers.append((f"threshold for {decision['criterion']}", value))
    if decision.get("temperature", 1.0) != 1.0:
        numbers.append(("temperature", f"{decision['temperature']:.3f}"))
    return numbers


def _classes(scores: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    return [
        (one_line(label), *(f"{each[key]:.3f}" for key in ("precision", "recall", "f1")), f"{each['support']:,}")
        for label, each in scores.items()
    ]


def _confusion(confusion: Confusion | None) -> list[tuple[str, list[tuple[int, float]]]]:
    if confusion is None or len(confusion.labels) > _MOST_LABELS:
        return []
    rows = zip(confusion.labels, confusion.matrix(), confusion.shares(), strict=True)
    return [(one_line(label), list(zip(counts, shares, strict=True))) for label, counts, shares in rows]


def _confused(confusion: Confusion | None) -> list[tuple[str, str, int]]:
    """Return the most frequent mistakes if there are too many labels for a matrix; otherwise nothing."""
    if confusion is None or len(confusion.labels) <= _MOST_LABELS:
        return []
    return [(one_line(each.label), one_line(each.predicted), each.count) for each in confusion.mistakes(_MOST_LABELS)]


def _scatter(folder: Path, name: str) -> Chart | None:
    return scatter_chart("Predictions against labels", *read_numbers(folder / f"{name}{PREDICTIONS}", "label", "pred"))


def _shown(error: TopError) -> TopError:
    texts = tuple(map(short_text, error.texts))
    return TopError(error.line, one_line(error.label), _short(error.predicted), error.size, texts)


def _short(predicted: str) -> str:
    """Return a label as it is, or a number with three significant digits."""
    try:
        return f"{float(predicted):.3g}"
    except ValueError:
        return one_line(predicted)
