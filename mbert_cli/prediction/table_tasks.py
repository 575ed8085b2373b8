"""The tasks that a table can be predicted for, and the columns that hold their texts."""

import shlex
from collections.abc import Mapping, Sequence

from mbert_cli.data.table import Table, header_hint
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
    sections = predictor.saved.section.tasks
    missing = {name: _missing(table, section) for name, section in sections.items()}
    tasks = list(dict.fromkeys(asked)) or [name for name, columns in missing.items() if not columns]
    if not tasks:
        raise _no_task(table, sections, missing)
    for task in tasks:
        text_columns(predictor, table, task)
    return tasks


def _missing(table: Table, section: TaskSection) -> list[str]:
    """Return the text columns of a task that a table lacks."""
    return [column for column in section.text if not table.has(heading(table, section, column))]


def _no_task(table: Table, sections: Mapping[str, TaskSection], missing: Mapping[str, Sequence[str]]) -> DataError:
    """Return the error for a table that has all text columns of no task: which are missing, and how to name them.

    Args:
        table: the input.
        sections: the tasks.
        missing: for each task, its text columns that the table lacks.
    """
    nearly = {name: columns for name, columns in missing.items() if len(columns) < len(sections[name].text)}
    if nearly:
        what = "; ".join(
            f"has no column {', '.join(columns)}, which task {name} reads" for name, columns in nearly.items()
        )
    else:
        wanted = "; ".join(f"{name}: {', '.join(section.text)}" for name, section in sections.items())
        what = f"has no task's text columns ({wanted})"
    have = {column.casefold(): column for column in table.header if column}
    # Tasks of which all missing columns are in the table, written in another case.
    other_case = [columns for columns in missing.values() if all(column.casefold() in have for column in columns)]
    options = dict.fromkeys(
        f"--columns {shlex.quote(f'{column}={have[column.casefold()]}')}"
        for columns in other_case
        for column in columns
    )
    remedy = f"Add {' '.join(options)}" if options else "Say which is which with --columns NAME=OTHER"
    return DataError(
        f"{table.name}:{table.header_line}: {what}; it has {', '.join(filter(None, table.header))}. "
        f"{remedy} (in a recipe's task: columns).{header_hint(table)}"
    )


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
