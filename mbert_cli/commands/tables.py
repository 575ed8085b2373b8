"""The tables of `mbert count-params` and `mbert evaluate`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mbert_cli.messages import one_line
from mbert_cli.metrics import describe_overall, percent
from mbert_cli.model.parameter_count import BYTES, Comparison, Counts
from mbert_cli.reports.confusion import Confusion, frequent_classes
from mbert_cli.reports.evaluation_folder import data_name
from mbert_cli.reports.largest_errors import TopError, measure_of
from mbert_cli.terminal.tables import FittedTable, new_table

_MAX_MISTAKES = 12
_MAX_CLASSES = 40
_MAX_TEXT_LENGTH = 200


def count_tables(counts: Counts) -> list[RenderableType]:
    """Return the tables of `mbert count-params`."""
    encoder, total = counts.exact("encoder"), counts.exact()
    table = new_table(
        "part",
        "task",
        "size",
        "formula",
        ("by formula", "right"),
        ("exact", "right"),
        ("of encoder", "right"),
        ("fp32", "right"),
        "phases",
        drop=("formula", "by formula", "fp32", "phases", "size", "of encoder"),
    )
    for count in counts.parts:
        by_formula = "" if count.by_formula is None else f"{count.by_formula:,}"
        trains = ", ".join(str(i) for i, phase in enumerate(counts.phases, start=1) if phase.covers(count))
        own = (count.part, count.task or "shared", count.size, count.formula, by_formula)
        table.add_row(*own, *_exact(count.exact, encoder), trains)
    table.add_section()
    if counts.adapters:
        by_formula = f"{sum(count.by_formula or 0 for count in counts.adapters):,}"
        exact = sum(count.exact for count in counts.adapters)
        table.add_row("adapters", "all", "", "", by_formula, *_exact(exact, encoder), "")
    table.add_row("model", "all", "", "", "", *_exact(total, encoder), "")
    phases = new_table("phase", "epochs", "tasks", "trains", ("parameters", "right"), ("share", "right"))
    for i, phase in enumerate(counts.phases, start=1):
        epochs, tasks = ", ".join(map(str, phase.epochs)), ", ".join(phase.tasks)
        what = "everything" if phase.trains == "everything" else "own adapters and head"
        phases.add_row(str(i), epochs, tasks, what, f"{phase.exact:,}", f"{phase.exact / total:.2%}")
    return [Text("Parameters"), table, Text("What trains, in the first epochs"), phases]


def comparison_tables(comparison: Comparison) -> list[RenderableType]:
    """Return the table of `mbert count-params --compare`, and the sizes that its formulas use."""
    shape = comparison.shape
    sizes = (
        f"d_m {shape.hidden_size}, d_e {shape.embedding_width}, d_ff {shape.intermediate_size}, L {shape.num_layers}, "
        f"T {comparison.num_tasks}; "
        f"encoder {comparison.encoder:,} parameters"
    )
    table = new_table(
        "method",
        "size",
        "formula",
        ("by formula", "right"),
        ("exact", "right"),
        ("model", "right"),
        ("fp32", "right"),
        ("bf16", "right"),
        drop=("formula", "bf16", "by formula", "fp32", "size"),
    )
    for count in comparison.methods:
        disk = (megabytes(size * count.exact) for size in BYTES.values())
        numbers = (f"{count.by_formula:,}", f"{count.exact:,}", f"{count.times_encoder:.3f}x")
        table.add_row(count.method, count.size, count.formula, *numbers, *disk)
    return [Text(sizes), table]


def megabytes(size: int) -> str:
    """Return a number of bytes in megabytes (10^6)."""
    return f"{size / 1e6:,.1f} MB"


def _exact(count: int, encoder: int) -> tuple[str, str, str]:
    return f"{count:,}", f"{count / encoder:.2%}", megabytes(BYTES["fp32"] * count)


def metrics_tables(evaluation: Mapping[str, Any]) -> list[RenderableType]:
    """Return the tables of `mbert evaluate`."""
    summary = new_table("task", ("rows", "right"), "metrics")
    for task, metrics in evaluation["tasks"].items():
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items() if isinstance(value, float))
        numbers += _decided(metrics.get("decision"))
        summary.add_row(task, f"{metrics['examples']:,}", numbers)
    summary.add_section()
    summary.add_row("overall", "", f"{evaluation['overall']:.3f}")
    described = describe_overall({task: metrics["main_metric"] for task, metrics in evaluation["tasks"].items()})
    summary.caption = one_line(described)
    named = {task: data_name(evaluation, task) for task in evaluation["tasks"]}
    titles = [f"Metrics on {name}" for name in set(named.values())]
    if len(titles) > 1:
        titles = ["Metrics", *(f"{task} on {name}" for task, name in named.items())]
    tables: list[RenderableType] = [*map(Text, titles), summary]
    for task, metrics in evaluation["tasks"].items():
        if (confusion := Confusion.of(metrics)) is not None:
            tables += [Text(f"Classes of {task}"), _classes(metrics), _confusion_table(task, confusion)]
        elif "delimiter" in metrics:
            tables += [Text(f"Labels of {task}"), _labels(metrics)]
    if "fitted" in evaluation:
        tables += [Text("Fitted on dev"), _fitted(evaluation["fitted"])]
    if "int8" in evaluation:
        tables += [Text("int8 compared with fp32"), _int8(evaluation["int8"])]
    return tables


def _int8(comparison: Mapping[str, Any]) -> RenderableType:
    columns = ("fp32", "int8", "difference", "largest change of an output")
    table = new_table("task", "metric", *((name, "right") for name in columns))
    for task, own in comparison["tasks"].items():
        table.add_row(task, own["metric"], *_scores_in_int8(own), f"{own['largest_change']:.3f}")
    table.add_section()
    table.add_row("overall", "", *_scores_in_int8(comparison["overall"]), "")
    return table


def _scores_in_int8(own: Mapping[str, Any]) -> list[str]:
    return [f"{own['fp32']:.4f}", f"{own['int8']:.4f}", f"{own['difference']:+.4f}"]


def _decided(decision: Mapping[str, Any] | None) -> str:
    """Return the fitted threshold and temperature of a task; empty if nothing was fitted."""
    threshold = f"  threshold {decision['threshold']:.3f}" if decision and decision.get("cut") else ""
    return threshold + (
        f"  temperature {decision['temperature']:.3f}" if decision and decision["temperature"] != 1 else ""
    )


def _fitted(fitted: Mapping[str, Any]) -> FittedTable:
    """Return a table with the scores of each task before and after fitting."""
    # The longest list of columns includes those of all other tasks.
    columns = max((list(turns["before"]) for turns in fitted.values()), key=len)
    table = new_table("task", "when", *((name, "right") for name in columns))
    for task, turns in fitted.items():
        for turn, values in turns.items():
            cells = (f"{values[name]:.3f}" if name in values else "" for name in columns)
            table.add_row(task, turn, *cells)
        table.add_section()
    return table


def _classes(metrics: Mapping[str, Any]) -> FittedTable:
    scores = (("precision", "right"), ("recall", "right"), ("f1", "right"))
    table = new_table("label", *scores, ("rows", "right"), drop=("precision", "recall"))
    classes, note = frequent_classes(metrics, _MAX_CLASSES)
    for label, own in classes.items():
        scores_shown = _scores(own) if own["support"] else ["-"] * len(scores)
        table.add_row(label, *scores_shown, f"{own['support']:,}")
    table.add_section()
    table.add_row("macro", *_scores(metrics["macro"]), f"{metrics['examples']:,}")
    table.caption = note
    return table


def _labels(metrics: Mapping[str, Any]) -> FittedTable:
    """Return a table of the labels of a task whose rows have several labels."""
    names = ("precision", "recall", "f1", "average_precision", "threshold")
    columns = [(name.replace("_", " "), "right") for name in names]
    table = new_table("label", *columns, ("rows", "right"), drop=("precision", "recall"))
    labels, note = frequent_classes(metrics, _MAX_CLASSES)
    for label, own in labels.items():
        table.add_row(label, *(f"{own[name]:.3f}" if name in own else "-" for name in names), f"{own['support']:,}")
    table.caption = note
    return table


def _scores(scores: Mapping[str, float]) -> list[str]:
    return [f"{scores[name]:.3f}" for name in ("precision", "recall", "f1")]


def _confusion_table(task: str, confusion: Confusion) -> FittedTable:
    """Return the confusion matrix, or the most frequent mistakes if it does not fit the terminal."""
    mistakes = _mistakes(task, confusion)
    return _matrix(task, confusion, narrow=mistakes) if confusion.has_matrix else mistakes


def _matrix(task: str, confusion: Confusion, narrow: RenderableType) -> FittedTable:
    table = new_table("", *((label, "right") for label in confusion.labels), narrow=narrow)
    table.heading = f"Confusion of {task}: rows are true labels, columns predicted ones; % of the row"
    for label, counts, shares in zip(confusion.labels, confusion.matrix(), confusion.shares(), strict=True):
        cells = (f"{count:,} {percent(share)}" for count, share in zip(counts, shares, strict=True))
        table.add_row(label, *cells)
    return table


def _mistakes(task: str, confusion: Confusion) -> FittedTable:
    table = new_table("true label", "predicted", ("rows", "right"), ("of the label", "right"))
    table.heading = f"Most frequent mistakes of {task}"
    for each in confusion.mistakes(_MAX_MISTAKES):
        table.add_row(each.label, each.predicted, f"{each.count:,}", percent(each.share))
    table.caption = f"confusion of {len(confusion.labels):,} classes; -o writes all of it"
    return table


def error_tables(errors: Mapping[str, Sequence[TopError]]) -> list[RenderableType]:
    """Return the tables of `mbert evaluate --top-errors`."""
    tables: list[RenderableType] = []
    for task, own in errors.items():
        table = new_table(("line", "right"), (measure_of(own), "right"), "label", "prediction", "text")
        for error in own:
            shown = " / ".join(each[:_MAX_TEXT_LENGTH] for each in error.texts) or "(the data file has changed)"
            cells = (str(error.line), f"{error.size:.3f}", error.label, error.predicted, shown)
            table.add_row(*map(one_line, cells))
        tables += [Text(f"Largest errors of {task}"), table] if own else [Text(f"No errors of {task}")]
    return tables
