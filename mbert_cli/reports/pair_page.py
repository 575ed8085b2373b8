"""The HTML page of `mbert compare`.

Must not import torch: fast start-up.
"""

from dataclasses import dataclass

from mbert_cli.messages import one_line
from mbert_cli.metrics import describe_overall
from mbert_cli.reports.bootstrap import METHOD, interval_text
from mbert_cli.reports.differing_rows import DifferingRow
from mbert_cli.reports.html import html_page
from mbert_cli.reports.page_text import short_text
from mbert_cli.reports.pair_comparison import Agreement, Comparison, MetricComparison, TaskComparison
from mbert_cli.reports.pair_text import HEADINGS, TESTS, metric_cells, task_facts

_MOST_ROWS = 50  # of a task


@dataclass(frozen=True)
class TaskPart:
    """The values that the template shows for one task."""

    name: str
    facts: str
    file: str
    metrics: list[list[str]]
    agreement: Agreement | None
    rows: list[DifferingRow]
    left_out: int


def pair_page(comparison: Comparison) -> str:
    """Return the page of a comparison. It refers to no other files."""
    a, b = (one_line(str(path)) for path in (comparison.a, comparison.b))
    main = {task.name: task.metrics[0].name for task in comparison.tasks}
    return html_page(
        "compare.html",
        title=f"{one_line(comparison.a.name)} and {one_line(comparison.b.name)}",
        names=(a, b),
        cards=[_card(task.name, task.metrics[0]) for task in comparison.tasks],
        overall=None if comparison.overall is None else _card("overall", comparison.overall),
        overall_meaning=one_line(describe_overall(main)),
        notes=[one_line(note) for note in comparison.notes],
        headings=HEADINGS,
        tasks=[_part(task) for task in comparison.tasks],
        explanations=(METHOD, TESTS),
    )


def _card(name: str, metric: MetricComparison) -> tuple[str, str, str]:
    """Return the difference, what it is the difference of, and its interval."""
    what = name if name == metric.name else f"{one_line(name)} {metric.name}"
    return f"{metric.difference:+.3f}", what, interval_text(metric.interval, "+")


def _part(task: TaskComparison) -> TaskPart:
    return TaskPart(
        name=one_line(task.name),
        facts=one_line(task_facts(task)),
        file=one_line(task.file),
        metrics=[metric_cells(metric) for metric in task.metrics],
        agreement=task.agreement,
        rows=[_shown(row) for row in task.differing[:_MOST_ROWS]],
        left_out=max(0, len(task.differing) - _MOST_ROWS),
    )


def _shown(row: DifferingRow) -> DifferingRow:
    label, own, other = map(one_line, (row.label, row.a, row.b))
    return DifferingRow(row.line, label, own, other, row.better, tuple(map(short_text, row.texts)))
