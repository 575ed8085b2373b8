"""Counts and metrics as tables for people."""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mbert_cli.parameters import Counts

_NOT_NUMBERS = ("confusion", "labels", "examples", "file")


def count_tables(counts: Counts) -> list[RenderableType]:
    """Return the tables of `mbert count-params`."""
    encoder = counts.exact("encoder")
    total = counts.exact()
    table = _table("part", "task", "formula", ("by formula", "right"), ("exact", "right"), ("of encoder", "right"))
    for count in counts.parts:
        by_formula = "" if count.by_formula is None else f"{count.by_formula:,}"
        share = f"{count.exact / encoder:.2%}"
        table.add_row(count.part, count.task or "shared", count.formula, by_formula, f"{count.exact:,}", share)
    table.add_section()
    if counts.adapters:
        by_formula, exact = (
            sum(values) for values in zip(*((c.by_formula or 0, c.exact) for c in counts.adapters), strict=True)
        )
        table.add_row("adapters", "all", "", f"{by_formula:,}", f"{exact:,}", f"{exact / encoder:.2%}")
    table.add_row("model", "all", "", "", f"{total:,}", f"{total / encoder:.2%}")
    own = {count.task: 0 for count in counts.parts if count.task}
    for count in counts.parts:
        if count.task:
            own[count.task] += count.exact
    trains = _table("when", ("parameters", "right"), ("share", "right"))
    trains.add_row("everything trains", f"{total:,}", "100.00%")
    for task, size in own.items():
        trains.add_row(f"only {task}'s own", f"{size:,}", f"{size / total:.2%}")
    return [Text("Parameters"), table, Text("Trainable"), trains]


def metrics_tables(found: Mapping[str, Any]) -> list[RenderableType]:
    """Return the tables of `mbert evaluate`."""
    summary = _table("task", ("rows", "right"), "metrics")
    for task, metrics in found["tasks"].items():
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items() if name not in _NOT_NUMBERS)
        summary.add_row(task, f"{metrics['examples']:,}", numbers)
    summary.add_section()
    summary.add_row("overall", "", f"{found['overall']:.3f}")
    tables: list[RenderableType] = [Text(f"Metrics on {found['split']}"), summary]
    for task, metrics in found["tasks"].items():
        if "confusion" in metrics:
            tables.append(Text(f"Confusion of {task}: rows are true labels, columns predicted ones"))
            tables.append(_confusion(metrics["confusion"], metrics["labels"]))
    return tables


def key_values(values: Mapping[str, Any]) -> Table:
    """Return a table of names and values."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in values.items():
        table.add_row(key, str(value))
    return table


def _confusion(matrix: list[list[int]], labels: list[str]) -> Table:
    table = _table("", *((label, "right") for label in labels))
    for label, row in zip(labels, matrix, strict=True):
        table.add_row(label, *(str(value) for value in row))
    return table


def _table(*columns: str | tuple[str, str]) -> Table:
    table = Table()
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify="right" if justify == "right" else "left")
    return table
