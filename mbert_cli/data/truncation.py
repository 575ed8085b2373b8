"""Rows with texts that are longer than a model can read: counted and reported, or rejected."""

from collections.abc import Mapping, Sequence

from mbert_cli.data.batching import TaskData
from mbert_cli.errors import DataError, counted

Counts = dict[str, list[int]]
"""For each task, the number of rows that were cut, and the number of all rows."""


class Truncation:
    """Counts the rows that are cut.

    Args:
        max_length: the longest sequence that the model reads, in tokens.
        max_positions: the longest sequence that its encoder can read, in tokens.
        strict: reject long rows instead of cutting them.
    """

    def __init__(self, max_length: int, max_positions: int, strict: bool = False) -> None:
        self.max_length = max_length
        self.max_positions = max_positions
        self.strict = strict
        self.counts: Counts = {}

    def add(
        self, task: str, data: TaskData, file: str, lines: Sequence[int], counted_rows: slice = slice(None)
    ) -> None:
        """Count rows of a task.

        Args:
            task: the task's name.
            data: the tokenised rows.
            file: the file of the rows, for messages.
            lines: the line of the file at which each row begins.
            counted_rows: the rows that count.

        Raises:
            DataError: `strict` is set, and a row that counts is too long.
        """
        rows = range(len(data))[counted_rows]
        cut = [row for row in data.cut if row in rows]
        if cut and self.strict:
            raise DataError(
                f"{file}:{lines[cut[0]]}: is longer than {self.max_length} tokens, as task {task} reads it; "
                "shorten it, or leave out --strict-length to cut it."
            )
        before = self.counts.get(task, [0, 0])
        self.counts[task] = [before[0] + len(cut), before[1] + len(rows)]

    def note(self) -> str | None:
        """Return a sentence about the rows that were cut; None if no row was cut."""
        return truncation_note(self.counts, self.max_length, self.max_positions)


def truncation_note(counts: Mapping[str, Sequence[int]], max_length: int, max_positions: int) -> str | None:
    """Return a sentence about the rows that were cut, with a remedy; None if no row was cut.

    Args:
        counts: see `Counts`.
        max_length: the longest sequence that the model reads, in tokens.
        max_positions: the longest sequence that its encoder can read, in tokens.
    """
    listed = [f"{cut:,} of {counted(rows, 'row')} of task {task}" for task, (cut, rows) in counts.items() if cut]
    if not listed:
        return None
    return (
        f"{' and '.join(listed)} were cut at {max_length} tokens: {length_remedy(max_length, max_positions)}. "
        "To reject such rows, add --strict-length (in training: training.strict_length=true)."
    )


def length_remedy(max_length: int, max_positions: int) -> str:
    """Return a remedy for texts that are longer than a model can read; see `truncation_note`."""
    if max_length < max_positions:
        return f"train with a larger training.max_length (this encoder reads up to {max_positions} tokens)"
    return f"this encoder reads no more than {max_positions} tokens; shorten the texts or use another encoder"
