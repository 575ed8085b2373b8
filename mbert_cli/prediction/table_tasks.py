"""The tasks that a table can be predicted for, and the columns that hold their texts."""

from collections.abc import Sequence

from mbert_cli.data.table import Table
from mbert_cli.errors import DataError
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.recipe.sections import TaskSection


def choose_tasks(predictor: Predictor, table: Table, asked: Sequence[str]) -> list[str]:
    """Return the tasks to predict: the requested ones, or else every task whose text columns the table has.

    Args:
        predictor: the model.
        table: the input. From now on, every row must have the texts of the returned tasks.
        asked: the requested tasks; may be empty.

    Raises:
        CheckpointError: a task does not exist.
        DataError: the table lacks a column of a requested task, or it has the columns of no task.
    """
    tasks = list(dict.fromkeys(asked)) or [
        name
        for name, section in predictor.saved.section.tasks.items()
        if all(table.has(heading(table, section, column)) for column in section.text)
    ]
    if not tasks:
        wanted = "; ".join(
            f"{name}: {', '.join(section.text)}" for name, section in predictor.saved.section.tasks.items()
        )
        have = ", ".join(column for column in table.header if column)
        raise DataError(
            f"{table.name}:{table.header_line}: has no task's text columns ({wanted}); it has {have}. "
            f"Say which is which with --columns NAME=OTHER (in a recipe's task: columns).{table.delimiter_hint}"
        )
    for task in tasks:
        text_columns(predictor, table, task)
    return tasks


def text_columns(predictor: Predictor, table: Table, task: str) -> list[int]:
    """Return the positions of a task's text columns.

    Raises:
        CheckpointError: the task does not exist.
        DataError: the table lacks a column.
    """
    section = predictor.saved.task(task)
    return [table.text_column(heading(table, section, name), f"text of task {task}") for name in section.text]


def heading(table: Table, section: TaskSection, name: str) -> str:
    """Return the name that a task's column has in a table: its own, or the one in the task's `columns`."""
    return name if table.has(name) else section.columns.get(name, name)
