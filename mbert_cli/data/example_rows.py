"""Rows of a table as labelled examples: each row is checked, and its texts and labels are taken out."""

import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from mbert_cli.data.label_sets import parse_flag
from mbert_cli.data.labels import Label, Labels, NamedLabels
from mbert_cli.data.problem import Problem
from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.messages import shown
from mbert_cli.recipe.sections import DEFAULT_ID, TaskSection

_Value = TypeVar("_Value")


class BadRowError(Exception):
    """A row is not an example.

    Args:
        problem: the reason.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Example(NamedTuple):
    """One labelled example.

    Args:
        texts: one text for each text column of the task.
        label: the label; see `labels.Label`.
        soft: the soft label as numbers; None for a task without soft labels.
        key: identity of the row; empty unless the task has folds.
    """

    texts: list[str]
    label: Label
    soft: list[float] | None
    key: str = ""


class ExampleReader:
    """Makes examples from the rows of one file.

    Args:
        table: the file.
        name: the task's name, for messages.
        task: names of the columns.
        labels: the task's labels.
        soft: read the soft labels too.
        check_ids: look for repeated ids.

    Raises:
        DataError: a column is missing.
    """

    def __init__(self, table: Table, name: str, task: TaskSection, labels: Labels, soft: bool, check_ids: bool) -> None:
        self._task, self._labels, self._soft = task, labels, soft
        self._texts = [table.text_column(text, f"text of task {name}") for text in task.text]
        needed = f"label of task {name} (files without labels can only be predicted)"
        self._label = [table.column(column, needed) for column in task.label_columns]
        why = f"soft label of task {name} (mbert predict appends it)"
        self._soft_columns = [table.column(column, why) for column in (labels.soft_columns if soft else ())]
        self._ids = _Ids(table, name, task) if check_ids else None
        self._identity = _identity_columns(table, name, task)

    def read(self, row: Row) -> Example:
        """Return the example in a row.

        Raises:
            BadRowError: the row is malformed, a text or the label is empty, or a label or an id is invalid.
        """
        if row.problem:
            raise BadRowError(row.problem)
        texts = [row.cells[column] for column in self._texts]
        for name, text in zip(self._task.text, texts, strict=True):
            if not text.strip():
                raise BadRowError(Problem(f"{name} is empty"))
        label = self._parsed_label([row.cells[column] for column in self._label])
        if self._ids is not None:
            self._ids.check(row)
        return Example(texts, label, self._parsed_soft(row) if self._soft else None, self._key(row, texts))

    def _key(self, row: Row, texts: Sequence[str]) -> str:
        """Return the identity of a row: its group or its id; if these cells are empty, its texts."""
        if self._task.fold is None:
            return ""
        kind, value = next(((kind, row.cells[at]) for kind, at in self._identity if row.cells[at]), ("texts", ""))
        values = [value] if value else sorted(texts) if self._task.symmetric else texts
        return "\0".join([kind, *values]).encode("utf-8", "backslashreplace").decode()

    def _parsed_label(self, cells: Sequence[str]) -> Label:
        columns = self._task.label_columns
        if len(columns) > 1:
            return tuple(self._parsed(column, cell, parse_flag) for column, cell in zip(columns, cells, strict=True))
        return self._parsed(columns[0], cells[0], self._labels.parse, self._labels.may_be_empty)

    def _parsed(self, column: str, cell: str, parse: Callable[[str], _Value], may_be_empty: bool = False) -> _Value:
        if not cell.strip() and not may_be_empty:
            raise BadRowError(Problem(f"{column} is empty"))
        try:
            return parse(cell)
        except ValueError as error:
            # Each unknown class is listed, because it may be a spelling of a known one.
            kind = "" if isinstance(self._labels, NamedLabels) else "label"
            raise BadRowError(Problem(f"{column} {error}", kind=kind)) from None

    def _parsed_soft(self, row: Row) -> list[float]:
        try:
            return self._labels.parse_soft([row.cells[column] for column in self._soft_columns])
        except ValueError as error:
            raise BadRowError(Problem(str(error), kind="soft label")) from None

    def warnings(self, path: str) -> list[str]:
        """Return warnings about the rows that were read, one sentence each."""
        return [] if self._ids is None else self._ids.warnings(path)


def _identity_columns(table: Table, name: str, task: TaskSection) -> list[tuple[str, int]]:
    """Return the columns that identify a row for its fold: that of the group, or that of the id; none without folds."""
    if task.fold is None:
        return []
    if task.fold.group is not None:
        return [("group", table.column(task.fold.group, f"group of task {name}", required=False))]
    if task.id is not None and table.has(task.id) and table.header.count(task.id) < 2:
        return [("id", table.column(task.id, f"id of task {name}", required=False))]
    return []


class _Ids:
    """Looks for repeated ids in a file.

    A repeated id is a bad row if the recipe names the column. The column that is used by default may identify users or
    documents instead of rows: there a repeated id is only a warning.

    Args:
        table: the file.
        name: the task's name, for messages.
        task: its `id` names the column; a file may lack it.
    """

    def __init__(self, table: Table, name: str, task: TaskSection) -> None:
        self._name, self._id = name, task.id
        self._column: int | None = None
        is_doubtful = task.id == DEFAULT_ID and table.header.count(DEFAULT_ID) > 1
        if task.id is not None and table.has(task.id) and not is_doubtful:
            self._column = table.column(task.id, f"id of task {name}", required=False)
        self._lines: dict[str, int] = {}
        self._repeated, self._first_repeated = 0, ""

    def check(self, row: Row) -> None:
        """Check the id of a row.

        Raises:
            BadRowError: an earlier row has the same id, and the recipe names the column.
        """
        if self._column is None or not row.cells[self._column]:
            return
        value = row.cells[self._column]
        first = self._lines.setdefault(value, row.line)
        if first == row.line:
            return
        problem = f"{self._id} {shown(value)} is already used at line {first}"
        if self._id != DEFAULT_ID:
            raise BadRowError(Problem(problem, kind="repeated id"))
        self._repeated += 1
        self._first_repeated = self._first_repeated or f"line {row.line}: {problem}"

    def warnings(self, path: str) -> list[str]:
        """Return a warning if ids were repeated."""
        if not self._repeated:
            return []
        rows = "1 row repeats" if self._repeated == 1 else f"{self._repeated:,} rows repeat"
        remedy = f"if '{self._id}' does not identify rows, set {shlex.quote(f'tasks.{self._name}.id=null')}."
        return [f"{path}: {rows} the id of an earlier one, first {self._first_repeated}; {remedy}"]
