"""Examples: the texts and labels of one task, read from a table and checked row by row."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from mbert_cli.data.bad_rows import BadRow, BadRows
from mbert_cli.data.example_rows import BadRowError, Example, ExampleReader
from mbert_cli.data.labels import Label, Labels
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError
from mbert_cli.recipe.sections import TaskSection

_WINDOW = 8192  # examples


@dataclass
class Examples:
    """Labelled texts of one task.

    Args:
        texts: for each text column (one, or two for pairs), the texts of all examples.
        labels: the label of each example.
        lines: the line of the file at which each example begins.
        skipped: the rows that were skipped.
        warnings: warnings about the file, one sentence each.
        source: the format and the columns of the file, as they were recognised.
        soft: the soft label of each example; empty for a task without soft labels.
    """

    texts: list[list[str]]
    labels: list[Label] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    skipped: list[BadRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    source: str = ""
    soft: list[list[float]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list, init=False)
    """The identity of each example; see `data/folds.py`."""

    def __post_init__(self) -> None:
        self.limited = False  # a limit left out some examples of the file

    def __len__(self) -> int:
        return len(self.labels)

    def append(self, example: Example, line: int) -> None:
        """Add one example, which begins at a line of the file."""
        for side, text in zip(self.texts, example.texts, strict=True):
            side.append(text)
        self.labels.append(example.label)
        self.lines.append(line)
        self.keys.append(example.key)
        if example.soft is not None:
            self.soft.append(example.soft)

    def extend(self, more: "Examples") -> None:
        """Add examples of the same task."""
        for side, texts in zip(self.texts, more.texts, strict=True):
            side += texts
        self.labels += more.labels
        self.lines += more.lines
        self.soft += more.soft
        self.keys += more.keys
        self.skipped += more.skipped
        self.warnings += more.warnings
        self.source = self.source or more.source

    def spread(self, count: int) -> "Examples":
        """Return at most `count` of the examples, in their order and evenly spread over the file."""
        count = min(count, len(self))
        some = self.take([index * len(self) // count for index in range(count)])
        some.limited = self.limited or count < len(self)
        return some

    def take(self, rows: Sequence[int]) -> "Examples":
        """Return some of the examples."""
        texts = [[side[row] for row in rows] for side in self.texts]
        labels, lines = [self.labels[row] for row in rows], [self.lines[row] for row in rows]
        soft = [self.soft[row] for row in rows] if self.soft else []
        some = replace(self, texts=texts, labels=labels, lines=lines, soft=soft)
        some.keys = [self.keys[row] for row in rows]
        some.limited = self.limited
        return some

    def skipped_note(self, path: str) -> str:
        """Return a line about the skipped rows; it lists their problems."""
        bad = BadRows(path)
        for row in self.skipped:
            bad.add(row)
        return bad.note

    def notes(self, path: str) -> list[str]:
        """Return what the user must know about the file: skipped rows and warnings."""
        return [*([self.skipped_note(path)] if self.skipped else []), *self.warnings]


def read_examples(
    path: str,
    name: str,
    task: TaskSection,
    labels: Labels,
    limit: int | None = None,
    soft: bool = False,
    skip_remedy: str | None = None,
) -> Examples:
    """Read a task's labelled file.

    Args:
        path: the file.
        name: the task's name, for messages.
        task: columns, quoting, and what to do with bad rows.
        labels: the task's labels.
        limit: the largest number of examples to keep. They are evenly spread over the file, because files are often
            sorted.
        soft: read the columns of soft labels too.
        skip_remedy: see `example_windows`.

    Raises:
        DataError: the file cannot be read, a column is missing, or no row is usable.
        BadRowsError: rows are bad and `task.on_bad_row` is `error`; the error lists their problems.
    """
    examples = joined(example_windows(path, name, task, labels, soft, check_ids=True, skip_remedy=skip_remedy))
    return examples if limit is None else examples.spread(limit)


def joined(windows: Iterator[Examples]) -> Examples:
    """Return the examples of all windows; there is at least one."""
    examples = next(windows)
    for window in windows:
        examples.extend(window)
    return examples


def example_windows(
    path: str,
    name: str,
    task: TaskSection,
    labels: Labels,
    soft: bool = False,
    check_ids: bool = False,
    skip_remedy: str | None = None,
) -> Iterator[Examples]:
    """Read a task's labelled file in windows of a few thousand examples. Errors are those of `read_examples`.

    Args:
        path: the file.
        name: the task's name, for messages.
        task: columns, quoting, and what to do with bad rows.
        labels: the task's labels.
        soft: read the columns of soft labels too.
        check_ids: look for repeated ids; this keeps all ids in memory.
        skip_remedy: how the user skips bad rows, for messages; by default with the setting of the recipe.
    """
    bad = BadRows(path)
    window, usable, rows = Examples([[] for _ in task.text]), 0, 0
    with Table(path, task.quoting, task.delimiter, task.columns) as table:
        window.source = table.description
        reader = ExampleReader(table, name, task, labels, soft, check_ids)
        for row in table.all_rows():
            rows += 1
            try:
                window.append(reader.read(row), row.line)
            except BadRowError as error:
                bad_row = BadRow(row.line, error.problem)
                bad.add(bad_row) if task.on_bad_row == "error" else window.skipped.append(bad_row)
                continue
            if len(window) == _WINDOW and not bad.count:
                usable += len(window)
                yield window
                window = Examples([[] for _ in task.text])
        bad.raise_if_any(skip_remedy or f"set {shlex.quote(f'tasks.{name}.on_bad_row=skip')}", rows)
        window.warnings += [*table.warnings, *reader.warnings(path)]
    if not usable + len(window):
        raise _no_usable_row(path, name, window.skipped)
    yield window


def _no_usable_row(path: str, name: str, skipped: list[BadRow]) -> DataError:
    rows = f"all {len(skipped)} are bad, the first in {skipped[0]}." if skipped else "expected rows below the header."
    return DataError(f"{path}: contains no usable row for task {name}; {rows}")
