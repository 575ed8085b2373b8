"""How the input of a model is read: like the files of its tasks, unless the command line sets something else."""

from collections.abc import Mapping
from typing import NamedTuple

from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError, UsageError
from mbert_cli.recipe.sections import ModelSection, TaskSection
from mbert_cli.storage.remote import is_file


class FileSettings(NamedTuple):
    """Settings that cannot be recognised with certainty from a file.

    Args:
        quoting: see `Table`.
        delimiter: see `Table`.
    """

    quoting: Quoting
    delimiter: Delimiter


def input_settings(
    path: str, tasks: Mapping[str, TaskSection], quoting: Quoting | None = None, delimiter: Delimiter | None = None
) -> FileSettings:
    """Return the settings with which an input is read.

    If the files of the tasks have different settings, the columns of the input decide: settings are used if the columns
    fit only the tasks that have them.

    Args:
        path: the input.
        tasks: the tasks that may read the input.
        quoting: quoting on the command line; None if there is none.
        delimiter: delimiter on the command line; None if there is none.

    Raises:
        UsageError: the settings of the tasks differ, and the columns do not decide; with the option to add.
    """
    # `csv` reads everything that `auto` reads, and more.
    trusted = any(task.quoting == "csv" for task in tasks.values())
    own = {name: "csv" if trusted and task.quoting == "auto" else task.quoting for name, task in tasks.items()}
    settings = {name: FileSettings(quoting or own[name], delimiter or task.delimiter) for name, task in tasks.items()}
    distinct = list(dict.fromkeys(settings.values()))
    if len(distinct) > 1 and is_file(path):
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


def check_other_names(table: Table, columns: Mapping[str, str]) -> None:
    """Check that no file has both names of a column: it is not clear which of them the user wants to read.

    Args:
        table: the input.
        columns: the names of columns from the command line, mapped to their other names.

    Raises:
        DataError: the input has a column under both names.
    """
    for name, other in columns.items():
        if name != other and {name, other} <= {*table.header}:
            raise DataError(
                f"{table.name}:{table.header_line}: has both '{name}' and '{other}', so --columns {name}={other} is "
                f"not clear; to read '{name}', leave out the option; to read '{other}', rename '{name}' in the file."
            )


def check_names_in_files(section: ModelSection, files: Mapping[str, str], columns: Mapping[str, str]) -> None:
    """Check that no file of some tasks has both names of a column; see `check_other_names`.

    Args:
        section: the model's section, with the settings of the command line.
        files: the tasks and their files.
        columns: the names of columns from the command line, mapped to their other names.

    Raises:
        DataError: a file has a column under both names.
    """
    for name, path in files.items():
        task = section.tasks.get(name)
        if task is not None and columns and is_file(path):
            with Table(path, task.quoting, task.delimiter) as table:
                check_other_names(table, columns)


def _fits(path: str, own: FileSettings, tasks: Mapping[str, TaskSection], settings: Mapping[str, FileSettings]) -> bool:
    """Whether a file, read with these settings, has the columns of a task with the same settings."""
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
    """Return a model's section with settings from the command line in all tasks.

    Args:
        section: the model's section.
        columns: alternative names of columns, in addition to those of each task.
        settings: keys of a task section and their values; None keeps the value of each task.
    """
    changes = {name: value for name, value in settings.items() if value is not None}
    tasks = {
        name: task.model_copy(update={**changes, "columns": {**task.columns, **columns}})
        for name, task in section.tasks.items()
    }
    return section.model_copy(update={"tasks": tasks})
