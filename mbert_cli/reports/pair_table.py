"""A comparison of two runs as tables for the terminal."""

from rich.console import RenderableType
from rich.text import Text

from mbert_cli.messages import one_line
from mbert_cli.metrics import describe_overall
from mbert_cli.reports.bootstrap import METHOD
from mbert_cli.reports.pair_comparison import Comparison, MetricComparison, TaskComparison
from mbert_cli.reports.pair_text import HEADINGS, TESTS, metric_cells, task_facts, text_of
from mbert_cli.terminal.tables import FittedTable, new_table

_MOST_TEXT = 200  # characters


def pair_tables(comparison: Comparison, most_rows: int) -> list[RenderableType]:
    """Return the tables of `mbert compare`.

    Args:
        comparison: the comparison.
        most_rows: number of differing rows to show for each task.
    """
    tables: list[RenderableType] = [
        Text(one_line(f"{name}: {path}")) for name, path in (("A", comparison.a), ("B", comparison.b))
    ]
    for task in comparison.tasks:
        tables += [Text(), Text(one_line(f"{task.name}: {task_facts(task)}")), _metrics(*task.metrics)]
        if task.differing and most_rows:
            tables.append(_rows(task, most_rows))
    if comparison.overall is not None:
        main = {task.name: task.metrics[0].name for task in comparison.tasks}
        tables += [Text(), Text(one_line(describe_overall(main))), _metrics(comparison.overall)]
    return [*tables, Text(), *(Text(each, style="dim") for each in (METHOD, TESTS))]


def _metrics(*metrics: MetricComparison) -> FittedTable:
    table = new_table(HEADINGS[0], *((name, "right") for name in HEADINGS[1:]))
    for metric in metrics:
        table.add_row(*metric_cells(metric))
    return table


def _rows(task: TaskComparison, most: int) -> FittedTable:
    table = new_table(("line", "right"), "label", "A", "B", "better", "text")
    for row in task.differing[:most]:
        shown = text_of([text[:_MOST_TEXT] for text in row.texts])
        table.add_row(*map(one_line, (str(row.line), row.label, row.a, row.b, row.better, shown)))
    more = len(task.differing) - most
    table.caption = f"and {more:,} more; -o writes all of them" if more > 0 else ""
    return table
