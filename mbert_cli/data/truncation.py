"""Rows with texts that are longer than a model can read: counted and reported, or rejected."""

from collections.abc import Sequence

from mbert_cli.data.batching import TaskData
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.errors import DataError


class Truncation:
    """Counts the rows that are cut.

    Args:
        limits: the longest texts that the model reads.
        strict: reject long rows instead of cutting them.
    """

    def __init__(self, limits: LengthLimits, strict: bool = False) -> None:
        self.limits = limits
        self.strict = strict
        self.counts: dict[str, list[int]] = {}

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
                f"{file}:{lines[cut[0]]}: is longer than {self.limits.longest(task)}, as task {task} reads it; "
                "shorten it, or leave out --strict-length to cut it."
            )
        before = self.counts.get(task, [0, 0])
        self.counts[task] = [before[0] + len(cut), before[1] + len(rows)]

    def note(self) -> str | None:
        """Return a message about the rows that were cut; None if no row was cut."""
        return self.limits.note(self.counts)
