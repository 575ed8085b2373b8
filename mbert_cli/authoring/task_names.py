"""Names for the tasks of the user's own files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mbert_cli.authoring.splits import slug
from mbert_cli.errors import UsageError

_LONGEST = 64  # characters


@dataclass(frozen=True)
class AskedLabel:
    """A column of labels that the user named.

    Args:
        column: name of the column.
        task: name of the task; None if the user gave none.
    """

    column: str
    task: str | None = None


def task_names(
    columns: Mapping[str, Sequence[str]], asked: Sequence[AskedLabel], headers: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the name of the task for each column of labels of each data set.

    The name is the one that the user gave; otherwise that of the data set, or of the column if the data set has several
    columns of labels. With several tasks, the columns of predictions begin with the name of the task; no name is chosen
    for which a file already has such a column, because `predict` rejects that file.

    Args:
        columns: the columns of labels of each data set.
        asked: the columns of labels that the user named.
        headers: the names of the columns of all files, each with a file that has it.

    Raises:
        UsageError: the user gave a name to two tasks, or a name for which a file has a column of predictions.
    """
    has_prefix = sum(map(len, columns.values())) > 1
    given = {label.column: label.task for label in asked if label.task}
    taken: set[str] = set()
    names: dict[str, dict[str, str]] = {}
    for data_set, labels in columns.items():
        names[data_set] = {}
        for column in labels:
            if column in given:
                name = _given_name(given[column], column, taken, headers if has_prefix else {})
            else:
                excluded = {*taken, *given.values()}
                options = _options(data_set, slug(column), len(labels) > 1, len(excluded) + len(headers))
                name = next(
                    each
                    for each in options
                    if each not in excluded and not (has_prefix and _predicted_column(each, headers))
                )
            taken.add(name)
            names[data_set][column] = name
    return names


def _given_name(name: str, column: str, taken: set[str], headers: Mapping[str, str]) -> str:
    if name in taken:
        raise UsageError(
            f"--label {name}={column}: two tasks would be called {name}; give each another name, as in "
            f"--label OTHER={column}."
        )
    clash = _predicted_column(name, headers)
    if clash is not None:
        raise UsageError(
            f"--label {name}={column}: predictions of task {name} would have the column '{clash}', which "
            f"{headers[clash]} already has; choose another name for the task."
        )
    return name


def _options(data_set: str, column: str, several: bool, excluded: int) -> list[str]:
    """Return names for a task, the best one first; more than there are names and columns that exclude one."""
    long = slug(f"{data_set}_{column}")
    options = [column if several else data_set, long]
    return options + [f"{long[: _LONGEST - 8]}_{number}" for number in range(2, excluded + 4)]


def _predicted_column(task: str, headers: Mapping[str, str]) -> str | None:
    """Return a column that has the name of a column of predictions of a task; None if there is none.

    See `Labels.columns` for the names. The classes of the task are not read yet, so every `p_...` counts.
    """
    own = (f"{task}_pred", f"{task}_score")
    return next((name for name in headers if name in own or name.startswith(f"{task}_p_")), None)
