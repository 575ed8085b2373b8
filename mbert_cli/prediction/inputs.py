"""Inputs of Python programs: columns, rows, texts or a data frame, instead of a file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mbert_cli.errors import DataError
from mbert_cli.messages import nearest, shown
from mbert_cli.recipe.sections import TaskSection


@runtime_checkable
class Frame(Protocol):
    """A data frame, as in pandas or polars: it has column names, and returns columns by name."""

    columns: Any

    def __getitem__(self, name: Any, /) -> Any:
        """Return a column."""


Inputs = Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]] | Iterable[Any] | Frame


def sides_of(given: Any, task: str, section: TaskSection) -> list[list[Any]]:
    """Return a task's texts, or the two sides of its pairs. `check_texts` checks the values.

    Args:
        given: should be `Inputs`: columns by name, a list of rows that are dicts, or a data frame. If the task reads
            one text, it can be a list of texts.
        task: the task's name, for messages.
        section: the task's section, which names its columns.

    Raises:
        DataError: a column is missing, or an input is no list. Rows are counted from 0.
    """
    if isinstance(given, Mapping | Frame):
        names = list(given) if isinstance(given, Mapping) else list(given.columns)
        return [_as_list(given[name], f"task {task}: {name}") for name in _own_names(names, task, section)]
    return _of_rows(_as_list(given, f"task {task}: the input"), task, section)


def texts_or_rows(given: Any, task: str) -> tuple[list[Any] | None, Inputs]:
    """Return the list of texts, or None if the input has rows or columns; and the input itself."""
    if isinstance(given, Mapping | Frame):
        return None, given
    rows = _as_list(given, f"task {task}: the input")
    return None if rows and isinstance(rows[0], Mapping) else rows, rows


def check_texts(sides: Sequence[Sequence[Any]], names: Sequence[str], task: str) -> None:
    """Check that columns have the same length and that all values are texts.

    Args:
        sides: the columns.
        names: names of the columns, for messages.
        task: the task's name, for messages.

    Raises:
        DataError: lengths differ, or a value is no text. Rows are counted from 0.
    """
    lengths = [len(side) for side in sides]
    if len(set(lengths)) > 1:
        raise DataError(
            f"task {task}: {' and '.join(names)} contain {' and '.join(map(str, lengths))} texts; "
            "a pair takes one of each."
        )
    for name, side in zip(names, sides, strict=True):
        for row, text in enumerate(side):
            if not isinstance(text, str):
                raise DataError(f"task {task}: row {row}: {name} must be a text, but is {shown(text)}.")
            if not text.isascii() and _holds_surrogate(text):
                raise DataError(
                    f"task {task}: row {row}: {name} contains half of a surrogate pair, which is not a character: "
                    f"{ascii(text)[:60]}; clean it with text.encode('utf-8', 'replace').decode()."
                )


def _holds_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _as_list(values: Any, what: str) -> list[Any]:
    if isinstance(values, str | bytes):
        raise DataError(f"{what} is one text, but must be a list of texts; write [text].")
    try:
        return list(values)
    except TypeError:
        raise DataError(f"{what} must be a list of texts, but is {shown(values)}.") from None


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
    names = _own_names(list(rows[0]), task, section)
    for number, row in enumerate(rows):
        for name in names:
            if not isinstance(row, Mapping) or name not in row:
                raise DataError(f"task {task}: row {number} has no '{name}', which row 0 has.")
    return [[row[name] for row in rows] for name in names]


def _own_names(have: list[Any], task: str, section: TaskSection) -> list[str]:
    """Return the names that the task's text columns have in the input: their own, or those in the task's `columns`."""
    names = [name if name in have else section.columns.get(name, name) for name in section.text]
    for name, own_name in zip(section.text, names, strict=True):
        if own_name not in have:
            raise DataError(
                f"task {task} reads the columns {', '.join(section.text)}, but there is no '{name}'"
                f"{nearest(name, [str(each) for each in have])}"
            )
    return names
