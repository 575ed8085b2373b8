"""What Python programs give in the place of a file: columns, rows, sentences or a data frame."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mbert_cli.errors import DataError
from mbert_cli.messages import nearest, shown
from mbert_cli.recipe.sections import TaskSection


@runtime_checkable
class Frame(Protocol):
    """A data frame, such as that of pandas or polars: names of columns, and columns by their names."""

    columns: Any

    def __getitem__(self, name: Any, /) -> Any:
        """Return a column."""


Inputs = Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]] | Iterable[Any] | Frame


def sides_of(given: Any, task: str, section: TaskSection) -> list[list[Any]]:
    """Return what should be the texts of a task's sentences, or of the two sides of its pairs; see `check_texts`.

    Args:
        given: what should be `Given`: columns by name, a list of rows that are dicts, a data frame, or, where the task
            reads one text, a list of texts.
        task: the task's name, for messages.
        section: names its columns.

    Raises:
        DataError: a column is missing, or something is no list; with its row, from 0.
    """
    if isinstance(given, Mapping | Frame):
        names = list(given) if isinstance(given, Mapping) else list(given.columns)
        return [_as_list(given[name], f"task {task}: {name}") for name in _found(names, task, section)]
    return _of_rows(_as_list(given, f"task {task}: the input"), task, section)


def texts_or_rows(given: Any, task: str) -> tuple[list[Any] | None, Inputs]:
    """Return the list of what should be texts, or None where rows or columns are given; and all that is given."""
    if isinstance(given, Mapping | Frame):
        return None, given
    rows = _as_list(given, f"task {task}: the input")
    return None if rows and isinstance(rows[0], Mapping) else rows, rows


def check_texts(sides: Sequence[Sequence[Any]], names: Sequence[str], task: str) -> None:
    """Check that columns of texts are as long as each other, and hold texts.

    Args:
        sides: the columns.
        names: of them, for messages.
        task: the same.

    Raises:
        DataError: they are not; with the row, from 0.
    """
    lengths = [len(side) for side in sides]
    if len(set(lengths)) > 1:
        raise DataError(
            f"task {task}: {' and '.join(names)} hold {' and '.join(map(str, lengths))} texts; "
            "a pair takes one of each."
        )
    for name, side in zip(names, sides, strict=True):
        for row, text in enumerate(side):
            if not isinstance(text, str):
                raise DataError(f"task {task}: row {row}: {name} must be a text, but is {shown(text)}.")
            if not text.isascii() and _holds_surrogate(text):
                raise DataError(
                    f"task {task}: row {row}: {name} holds half of a surrogate pair, which is no character: "
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
