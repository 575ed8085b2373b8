"""Examples: the texts and labels of one task, read from a table and checked row by row."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mbert_cli.data.table import Row, Table
from mbert_cli.errors import DataError
from mbert_cli.recipe import TaskSection
from mbert_cli.recipe_file import shown

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
        source: what the file was taken for.
        soft: what another model predicts of each example; empty where nobody asked.
    """

    texts: list[list[str]]
    labels: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
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
        self.source = self.source or more.source

    def spread(self, count: int) -> "Examples":
        """Return at most `count` of the examples, evenly spread over them, in their order."""
        count = min(count, len(self))
        rows = [index * len(self) // count for index in range(count)]
        texts = [[side[row] for row in rows] for side in self.texts]
        labels, lines = [self.labels[row] for row in rows], [self.lines[row] for row in rows]
        soft = [self.soft[row] for row in rows] if self.soft else []
        return Examples(texts, labels, lines, self.skipped, self.source, soft)

    def skipped_note(self, path: str) -> str:
        """Return a line on the rows left out, the first of them listed."""
        shown = "; ".join(self.skipped[:_MOST_LISTED])
        more = f"; and {len(self.skipped) - _MOST_LISTED} more" if len(self.skipped) > _MOST_LISTED else ""
        return f"{path}: skipped {len(self.skipped)} bad rows: {shown}{more}"


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
        DataError: the file cannot be read, a column is missing, no usable row is left, or a row is bad and
            `task.on_bad_row` is `error`; an id that stands twice is bad.
    """
    found = Examples([[] for _ in task.text])
    for window in example_windows(path, name, task, parse_label, {}, soft):
        found.extend(window)
    return found if limit is None else found.spread(limit)


def example_windows(
    path: str,
    name: str,
    task: TaskSection,
    parse_label: Callable[[str], float],
    ids: dict[str, int] | None = None,
    soft: SoftColumns | None = None,
) -> Iterator[Examples]:
    """Read a task's labelled file, a few thousand rows at a time.

    Args and errors are those of `read_examples`.

    Args:
        path: the file.
        name: the task's name, for messages.
        task: columns, quoting, and what to do with bad rows.
        parse_label: a label's text to its number; raises ValueError with what it must be.
        ids: filled with every id and its line, by which one that stands twice is known; None does not ask.
        soft: the columns of soft labels, where the task has them.
    """
    found, usable = Examples([[] for _ in task.text]), 0
    with Table(path, task.quoting, task.delimiter, task.columns) as table:
        found.source = table.description
        columns = [table.column(text, f"text of task {name}") for text in task.text]
        label_column = table.column(task.label, f"label of task {name} (files without labels can be predicted only)")
        why = f"soft label of task {name} (mbert predict appends it)"
        soft_columns = [table.column(column, why) for column in (soft.names if soft else ())]
        id_column = None if ids is None or not table.has(task.id) else table.column(task.id, f"id of task {name}")
        for row in table:
            problem, label = _checked(row, columns, label_column, task, parse_label)
            if ids is not None and id_column is not None and row.cells[id_column] and not problem:
                first = ids.setdefault(row.cells[id_column], row.line)
                if first != row.line:
                    problem = f"{task.id} {shown(row.cells[id_column])} stands at line {first} already"
            values: list[float] = []
            if soft is not None and not problem:
                try:
                    values = soft.parse([row.cells[column] for column in soft_columns])
                except ValueError as error:
                    problem = str(error)
            if problem:
                place = f"{row.line}: {problem}"
                if task.on_bad_row == "error":
                    raise DataError(f"{path}:{place}; mend the row, or set tasks.{name}.on_bad_row: skip.")
                found.skipped.append(f"line {place}")
                continue
            for side, column in zip(found.texts, columns, strict=True):
                side.append(row.cells[column])
            found.labels.append(label)
            found.lines.append(row.line)
            if soft is not None:
                found.soft.append(values)
            if len(found) == _WINDOW:
                usable += len(found)
                yield found
                found = Examples([[] for _ in task.text])
    usable += len(found)
    if not usable:
        why = (
            f"all {len(found.skipped)} are bad, the first in {found.skipped[0]}."
            if found.skipped
            else "expected rows below the header."
        )
        raise DataError(f"{path}: holds no usable row for task {name}; {why}")
    yield found


def _checked(
    row: Row, columns: list[int], label_column: int, task: TaskSection, parse_label: Callable[[str], float]
) -> tuple[str, float]:
    """Return what is wrong with a row, if anything, and its label."""
    for column, name in zip(columns, task.text, strict=True):
        if not row.cells[column].strip():
            return f"{name} is empty", 0.0
    text = row.cells[label_column]
    if not text.strip():
        return f"{task.label} is empty", 0.0
    try:
        return "", parse_label(text)
    except ValueError as error:
        return f"{task.label} {error}", 0.0
