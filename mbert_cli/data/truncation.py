"""Rows whose texts are longer than a model reads: counted, said at the end, or refused."""

from collections.abc import Mapping, Sequence

from mbert_cli.data.batching import TaskData
from mbert_cli.errors import DataError, counted

Counts = dict[str, list[int]]
"""For each task how many rows were cut, and of how many."""


class Truncation:
    """Counts the rows that are cut.

    Args:
        max_length: the longest sequence that the model reads, in tokens.
        max_positions: the longest that its encoder could read.
        strict: refuse a row in place of cutting it.
    """

    def __init__(self, max_length: int, max_positions: int, strict: bool = False) -> None:
        self.max_length = max_length
        self.max_positions = max_positions
        self.strict = strict
        self.counts: Counts = {}

    def add(self, task: str, data: TaskData, file: str, lines: Sequence[int]) -> None:
        """Count rows of a task.

        Args:
            task: its name.
            data: its rows, tokenised.
            file: their file, for messages.
            lines: where each begins in it.

        Raises:
            DataError: a row is too long, and none may be cut.
        """
        cut = data.cut
        if cut and self.strict:
            raise DataError(
                f"{file}:{lines[cut[0]]}: is longer than {self.max_length} tokens, as task {task} reads it; "
                "shorten it, or leave out --strict-length, so that it is cut."
            )
        before = self.counts.get(task, [0, 0])
        self.counts[task] = [before[0] + len(cut), before[1] + len(data)]

    def note(self) -> str | None:
        """Return a sentence on the rows that were cut; None where none was."""
        return truncation_note(self.counts, self.max_length, self.max_positions)


def truncation_note(counts: Mapping[str, Sequence[int]], max_length: int, max_positions: int) -> str | None:
    """Return a sentence on rows that were cut, and what to do about it; None where none was.

    Args:
        counts: see `Counts`.
        max_length: the longest sequence that the model reads, in tokens.
        max_positions: the longest that its encoder could read.
    """
    listed = [f"{cut:,} of {counted(rows, 'row')} of task {task}" for task, (cut, rows) in counts.items() if cut]
    if not listed:
        return None
    return (
        f"{' and '.join(listed)} were cut at {max_length} tokens: {length_remedy(max_length, max_positions)}. "
        "To refuse such rows, add --strict-length (in training: training.strict_length=true)."
    )


def length_remedy(max_length: int, max_positions: int) -> str:
    """Return what to do about texts that are longer than a model reads; see `truncation_note`."""
    if max_length < max_positions:
        return f"train with a larger training.max_length (this encoder reads up to {max_positions} tokens)"
    return f"this encoder reads no more than {max_positions} tokens; shorten the texts or use another encoder"
