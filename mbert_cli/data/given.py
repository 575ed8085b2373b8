"""What Python programs give in the place of a file: columns, rows, sentences or a data frame."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mbert_cli.errors import DataError
from mbert_cli.recipe import TaskSection
from mbert_cli.recipe_file import nearest, shown


@runtime_checkable
class Frame(Protocol):
    """A data frame, such as that of pandas or polars: names of columns, and columns by their names."""

    columns: Any

    def __getitem__(self, name: Any, /) -> Any:
        """Return a column."""


Given = Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]] | Sequence[Any] | Frame


def sides_of(given: Given, task: str, section: TaskSection) -> list[list[str]]:
    """Return the texts of a task's sentences, or of the two sides of its pairs.

    Args:
        given: columns by name, a list of rows that are dicts, a data frame, or, where the task reads one text, a list
            of texts.
        task: the task's name, for messages.
        section: names its columns.

    Raises:
        DataError: a column is missing, columns differ in length, or something is no text; with its row, from 0.
    """
    if isinstance(given, str):
        raise DataError(f"task {task}: one text is given, but a list is read; write [text].")
    if isinstance(given, Mapping | Frame):
        names = list(given) if isinstance(given, Mapping) else list(given.columns)
        sides = [list(_column(given[name], name, task)) for name in _found(names, task, section)]
    else:
        sides = _of_rows(list(given), task, section)
    lengths = [len(side) for side in sides]
    if len(set(lengths)) > 1:
        raise DataError(
            f"task {task}: {' and '.join(section.text)} hold {' and '.join(map(str, lengths))} texts; "
            "a pair takes one of each."
        )
    for name, side in zip(section.text, sides, strict=True):
        for row, text in enumerate(side):
            if not isinstance(text, str):
                raise DataError(f"task {task}: row {row}: {name} must be a text, but is {shown(text)}.")
    return sides


def _column(values: Iterable[Any], name: str, task: str) -> Iterable[Any]:
    if isinstance(values, str):
        raise DataError(f"task {task}: {name} is one text, but a list of them is read; write [text].")
    return values


def _of_rows(rows: list[Any], task: str, section: TaskSection) -> list[list[Any]]:
    if not rows:
        return [[] for _ in section.text]
    if not isinstance(rows[0], Mapping):
        if len(section.text) > 1:
            raise DataError(
                f"task {task} reads pairs: give the columns {' and '.join(section.text)} by name, "
                "or rows that have both."
            )
        return [rows]
    names = _found(list(rows[0]), task, section)
    for number, row in enumerate(rows):
        for name in names:
            if not isinstance(row, Mapping) or name not in row:
                raise DataError(f"task {task}: row {number} has no '{name}', which row 0 has.")
    return [[row[name] for row in rows] for name in names]


def _found(have: list[Any], task: str, section: TaskSection) -> list[str]:
    """Return what the task's columns are called among those that there are: by their name, or their other name."""
    names = [name if name in have else section.columns.get(name, name) for name in section.text]
    for name, found in zip(section.text, names, strict=True):
        if found not in have:
            raise DataError(
                f"task {task} reads the columns {', '.join(section.text)}, but there is no '{name}'"
                f"{nearest(name, [str(each) for each in have])}"
            )
    return names
