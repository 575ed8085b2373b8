"""Examples: the texts and labels of one task, read from a table and checked row by row."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.errors import BadRowsError, DataError
from mbert_cli.messages import shown
from mbert_cli.recipe.sections import DEFAULT_ID, TaskSection

_MOST_LISTED = 20
_WINDOW = 8192


@dataclass(frozen=True)
class SoftColumns:
    """Columns that hold what another model predicts of a task.

    Args:
        names: of the columns.
        parse: their texts to numbers; raises ValueError with what one must be.
    """

    names: Sequence[str]
    parse: Callable[[Sequence[str]], list[float]]


@dataclass
class Examples:
    """Labelled texts of one task.

    Args:
        texts: for each side of the task (one, or two for pairs) the texts of all examples.
        labels: one number an example.
        lines: where each example begins in its file.
        skipped: the problems of the rows that were left out.
        warnings: what is in doubt about the file, a sentence each.
        source: what the file was taken for.
        soft: what another model predicts of each example; empty where nobody asked.
    """

    texts: list[list[str]]
    labels: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    source: str = ""
    soft: list[list[float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def extend(self, more: "Examples") -> None:
        """Add examples of the same task."""
        for side, texts in zip(self.texts, more.texts, strict=True):
            side += texts
        self.labels += more.labels
        self.lines += more.lines
        self.soft += more.soft
        self.skipped += more.skipped
        self.warnings += more.warnings
        self.source = self.source or more.source

    def spread(self, count: int) -> "Examples":
        """Return at most `count` of the examples, evenly spread over them, in their order."""
        count = min(count, len(self))
        rows = [index * len(self) // count for index in range(count)]
        texts = [[side[row] for row in rows] for side in self.texts]
        labels, lines = [self.labels[row] for row in rows], [self.lines[row] for row in rows]
        soft = [self.soft[row] for row in rows] if self.soft else []
        return replace(self, texts=texts, labels=labels, lines=lines, soft=soft)

    def skipped_note(self, path: str) -> str:
        """Return a line on the rows left out, the first of them listed."""
        shown = "; ".join(self.skipped[:_MOST_LISTED])
        more = f"; and {len(self.skipped) - _MOST_LISTED} more" if len(self.skipped) > _MOST_LISTED else ""
        return f"{path}: skipped {len(self.skipped)} bad rows: {shown}{more}"

    def notes(self, path: str) -> list[str]:
        """Return what the user must know of the file: rows left out, and doubts."""
        return [*([self.skipped_note(path)] if self.skipped else []), *self.warnings]


def read_examples(
    path: str,
    name: str,
    task: TaskSection,
    parse_label: Callable[[str], float],
    limit: int | None = None,
    soft: SoftColumns | None = None,
) -> Examples:
    """Read a task's labelled file.

    Args:
        path: the file.
        name: the task's name, for messages.
        task: columns, quoting, and what to do with bad rows.
        parse_label: a label's text to its number; raises ValueError with what it must be.
        limit: how many examples to take at most, spread evenly over the file: files are often sorted.
        soft: the columns of soft labels, where the task has them.

    Raises:
        DataError: the file cannot be read, a column is missing, no usable row is left, or rows are bad and
            `task.on_bad_row` is `error`; with the first of them.
    """
    found = Examples([[] for _ in task.text])
    for window in example_windows(path, name, task, parse_label, soft, check_ids=True):
        found.extend(window)
    return found if limit is None else found.spread(limit)


def example_windows(
    path: str,
    name: str,
    task: TaskSection,
    parse_label: Callable[[str], float],
    soft: SoftColumns | None = None,
    check_ids: bool = False,
) -> Iterator[Examples]:
    """Read a task's labelled file, a few thousand rows at a time.

    Args and errors are those of `read_examples`.

    Args:
        path: the file.
        name: the task's name, for messages.
        task: columns, quoting, and what to do with bad rows.
        parse_label: a label's text to its number; raises ValueError with what it must be.
        soft: the columns of soft labels, where the task has them.
        check_ids: look for ids that repeat, which takes memory for each of them.
    """
    found, usable, bad = Examples([[] for _ in task.text]), 0, _BadRows(path, name)
    with Table(path, task.quoting, task.delimiter, task.columns) as table:
        found.source = table.description
        reader = _RowReader(table, name, task, parse_label, soft, check_ids)
        for row in table.all_rows():
            problem = reader.add(row, found)
            if problem and task.on_bad_row == "error":
                bad.add(f"{row.line}: {problem}")
            elif problem:
                found.skipped.append(f"line {row.line}: {problem}")
            elif len(found) == _WINDOW and not bad.count:
                usable += len(found)
                yield found
                found = Examples([[] for _ in task.text])
        bad.raise_if_any()
        found.warnings += [*table.warnings, *reader.warnings(path)]
    usable += len(found)
    if not usable:
        why = (
            f"all {len(found.skipped)} are bad, the first in {found.skipped[0]}."
            if found.skipped
            else "expected rows below the header."
        )
        raise DataError(f"{path}: holds no usable row for task {name}; {why}")
    yield found


class _BadRows:
    """The bad rows of a file that may have none.

    Args:
        path: the file.
        task: its name.
    """

    def __init__(self, path: str, task: str) -> None:
        self.count = 0
        self._path, self._task = path, task
        self._listed: list[str] = []

    def add(self, problem: str) -> None:
        """Take in a row's line and problem."""
        self.count += 1
        if self.count <= _MOST_LISTED:
            self._listed.append(f"{self._path}:{problem}")

    def raise_if_any(self) -> None:
        """Refuse the file if it has bad rows.

        Raises:
            BadRowsError: with the first of them.
        """
        remedy = f"or set {shlex.quote(f'tasks.{self._task}.on_bad_row=skip')}."
        if self.count == 1:
            raise BadRowsError(f"{self._listed[0]}; correct the row, {remedy}")
        if self.count:
            listed = "" if self.count <= _MOST_LISTED else f", of which {_MOST_LISTED} are listed"
            last = f"{self._path}: has {self.count:,} bad rows{listed}; correct them, {remedy}"
            raise BadRowsError(*(f"{each}." for each in self._listed), last)


class _RowReader:
    """Makes examples of rows.

    Args:
        table: the file.
        name: the task's name, for messages.
        task: says which columns hold what.
        parse_label: a label's text to its number.
        soft: the columns of soft labels, where the task has them.
        check_ids: look for ids that repeat.

    Raises:
        DataError: a column is missing.
    """

    def __init__(
        self,
        table: Table,
        name: str,
        task: TaskSection,
        parse_label: Callable[[str], float],
        soft: SoftColumns | None,
        check_ids: bool,
    ) -> None:
        self._name, self._task, self._parse_label, self._soft = name, task, parse_label, soft
        self._texts = [table.text_column(text, f"text of task {name}") for text in task.text]
        self._label = table.column(task.label, f"label of task {name} (files without labels can only be predicted)")
        why = f"soft label of task {name} (mbert predict appends it)"
        self._soft_columns = [table.column(column, why) for column in (soft.names if soft else ())]
        self._id = None
        is_doubtful = task.id == DEFAULT_ID and table.header.count(DEFAULT_ID) > 1
        if check_ids and task.id is not None and table.has(task.id) and not is_doubtful:
            self._id = table.column(task.id, f"id of task {name}", required=False)
        self._ids: dict[str, int] = {}
        self._repeated, self._first_repeated = 0, ""

    def add(self, row: Row, found: Examples) -> str:
        """Add a row to the examples, or return what is wrong with it."""
        if row.problem:
            return row.problem
        for column, name in zip(self._texts, self._task.text, strict=True):
            if not row.cells[column].strip():
                return f"{name} is empty"
        text = row.cells[self._label]
        if not text.strip():
            return f"{self._task.label} is empty"
        try:
            label = self._parse_label(text)
        except ValueError as error:
            return f"{self._task.label} {error}"
        problem = self._problem_of_id(row)
        if problem:
            return problem
        if self._soft is not None:
            try:
                found.soft.append(self._soft.parse([row.cells[column] for column in self._soft_columns]))
            except ValueError as error:
                return str(error)
        for side, column in zip(found.texts, self._texts, strict=True):
            side.append(row.cells[column])
        found.labels.append(label)
        found.lines.append(row.line)
        return ""

    def _problem_of_id(self, row: Row) -> str:
        if self._id is None or not row.cells[self._id]:
            return ""
        value = row.cells[self._id]
        first = self._ids.setdefault(value, row.line)
        if first == row.line:
            return ""
        problem = f"{self._task.id} {shown(value)} stands at line {first} already"
        if self._task.id != DEFAULT_ID:
            return problem
        # Nobody asked for this column: it may name users or documents, not rows.
        self._repeated += 1
        self._first_repeated = self._first_repeated or f"line {row.line}: {problem}"
        return ""

    def warnings(self, path: str) -> list[str]:
        """Return what is in doubt about the rows, a sentence each."""
        if not self._repeated:
            return []
        rows = "1 row repeats" if self._repeated == 1 else f"{self._repeated:,} rows repeat"
        remedy = f"if '{self._task.id}' does not name rows, set {shlex.quote(f'tasks.{self._name}.id=null')}."
        return [f"{path}: {rows} the id of an earlier one, first {self._first_repeated}; {remedy}"]
