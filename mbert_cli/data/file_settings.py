"""How a model's input is read: as its tasks' files are, unless the command line says otherwise."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError, UsageError
from mbert_cli.recipe.sections import ModelSection, TaskSection


class FileSettings(NamedTuple):
    """What a file's bytes do not say for sure.

    Args:
        quoting: see `Table`.
        delimiter: the same.
    """

    quoting: Quoting
    delimiter: Delimiter


def input_settings(
    path: str, tasks: Mapping[str, TaskSection], quoting: Quoting | None = None, delimiter: Delimiter | None = None
) -> FileSettings:
    """Return how an input of some tasks is read.

    Where the tasks' own files are read differently, the input's columns decide, if they fit the tasks of one reading
    alone.

    Args:
        path: the input.
        tasks: those that may read it.
        quoting: what the command line says; None where it says nothing.
        delimiter: the same.

    Raises:
        UsageError: the tasks differ, and the input does not decide; with what to add to the command.
    """
    # `csv` reads what `auto` reads, and more.
    trusted = any(task.quoting == "csv" for task in tasks.values())
    own = {name: "csv" if trusted and task.quoting == "auto" else task.quoting for name, task in tasks.items()}
    settings = {name: FileSettings(quoting or own[name], delimiter or task.delimiter) for name, task in tasks.items()}
    distinct = list(dict.fromkeys(settings.values()))
    if len(distinct) > 1 and os.path.isfile(path):
        fitting = [each for each in distinct if _fits(path, each, tasks, settings)]
        distinct = fitting if len(fitting) == 1 else distinct
    if len(distinct) == 1:
        return distinct[0]
    differ = [name for name in FileSettings._fields if len({getattr(each, name) for each in distinct}) > 1]
    listed = "; ".join(
        f"{name}: {', '.join(f'{field} {getattr(own, field)}' for field in differ)}" for name, own in settings.items()
    )
    flags = " and ".join(f"--{field}" for field in differ)
    raise UsageError(
        f"{path}: the model's tasks read their files differently ({listed}); choose one with -t, or {flags}."
    )


def _fits(path: str, own: FileSettings, tasks: Mapping[str, TaskSection], settings: Mapping[str, FileSettings]) -> bool:
    """Whether a file, read so, has the columns of a task whose files are read so."""
    try:
        with Table(path, *own) as table:
            return any(
                all(table.has(name) or table.has(task.columns.get(name, name)) for name in task.text)
                for each, task in tasks.items()
                if settings[each] == own
            )
    except DataError:
        return False


def with_file_settings(section: ModelSection, columns: Mapping[str, str], **settings: str | None) -> ModelSection:
    """Return a model's section whose tasks' files are read as the command line says.

    Args:
        section: of the model.
        columns: other names of columns, in addition to a task's own.
        settings: of all tasks' files, by their names in a recipe's task; None leaves each task's own.
    """
    changes = {name: value for name, value in settings.items() if value is not None}
    tasks = {
        name: task.model_copy(update={**changes, "columns": {**task.columns, **columns}})
        for name, task in section.tasks.items()
    }
    return section.model_copy(update={"tasks": tasks})
