"""The numbers of a comparison of two runs as text, for the terminal and for the page."""

from collections.abc import Sequence

from mbert_cli.reports.bootstrap import INTERVAL, interval_text
from mbert_cli.reports.pair_comparison import MetricComparison, TaskComparison

HEADINGS = ("metric", "A", "B", "B - A", INTERVAL, "p")
TESTS = (
    "p is the probability of a difference at least this large if both runs are equally good: by McNemar's exact test "
    "for accuracy and exact_match, by the paired bootstrap for other metrics. It is not corrected for the number of "
    "comparisons."
)
"""The meaning of the p-values."""


def metric_cells(metric: MetricComparison) -> list[str]:
    """Return the cells of a metric, below `HEADINGS`."""
    p = metric.p
    return [
        metric.name,
        f"{metric.a:.3f}",
        f"{metric.b:.3f}",
        f"{metric.difference:+.3f}",
        interval_text(metric.interval, "+"),
        "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}",
    ]


def task_facts(task: TaskComparison) -> str:
    """Return the data of a task, and how many rows each run predicts correctly."""
    parts = [f"{task.rows:,} rows of {task.data}"]
    if task.agreement is not None:
        own = task.agreement
        parts.append(f"only A is correct in {own.only_a:,}, only B in {own.only_b:,}, both in {own.both:,}")
    return "; ".join([*parts, f"the predictions of {len(task.differing):,} differ"])


def text_of(texts: Sequence[str]) -> str:
    """Return the texts of a row as one text."""
    return " / ".join(texts) or "(the data file is missing or has changed)"
