"""The longest texts that a model reads, and what to do about longer ones.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mbert_cli.errors import counted
from mbert_cli.recipe.long_texts import SHORTEST
from mbert_cli.recipe.sections import TaskSection

Counts = Mapping[str, Sequence[int]]
"""For each task, the number of rows that were cut, and the number of all rows."""

_STRIDE = 64  # tokens, which messages propose


@dataclass(frozen=True)
class LengthLimits:
    """The longest texts that a model reads.

    Args:
        max_length: the longest sequence, in tokens.
        max_positions: the longest sequence that the encoder can read, in tokens.
        windows: for each task that reads long texts in windows, the largest number of windows.
    """

    max_length: int
    max_positions: int
    windows: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, max_length: int, max_positions: int, tasks: Mapping[str, TaskSection]) -> "LengthLimits":
        """Return the limits of a model with some tasks."""
        sections = {name: task.windows for name, task in tasks.items() if task.windows is not None}
        windows = {name: own.most_read for name, own in sections.items() if own.most_read > 1}
        return cls(max_length, max_positions, windows)

    def longest(self, task: str) -> str:
        """Return the size of a task's longest text: `128 tokens`, or `16 windows of 128 tokens`."""
        tokens = f"{self.max_length} tokens"
        return f"{self.windows[task]} windows of {tokens}" if task in self.windows else tokens

    def remedy(self, task: str) -> str:
        """Return what to do if texts of a task are cut; without a full stop."""
        if task in self.windows:
            return f"train with a larger tasks.{task}.windows.most or training.max_length"
        stride = min(_STRIDE, self.max_length // 2)
        windows = f"tasks.{task}.windows.stride={stride} (reads long texts in windows)"
        has_windows = self.max_length >= SHORTEST
        if self.max_length < self.max_positions:
            larger = f"train with a larger training.max_length (this encoder reads up to {self.max_positions} tokens)"
            return f"{larger}, or with {windows}" if has_windows else larger
        most = f"this encoder reads no more than {self.max_positions} tokens"
        return f"{most}; {f'train with {windows},' if has_windows else 'shorten the texts'} or use another encoder"

    def note(self, counts: Counts) -> str | None:
        """Return a message about the rows that were cut, with a remedy; None if no row was cut."""
        sentences = [f"{sentence}. " for sentence in self._sentences(counts)]
        if not sentences:
            return None
        reject = "To reject such rows, add --strict-length (in training: training.strict_length=true)."
        return f"{''.join(sentences)}{reject}"

    def warning(self, task: str, cut: int, rows: int) -> str:
        """Return a sentence about the rows of a task that were cut, without a full stop."""
        return self._sentences({task: (cut, rows)})[0]

    def _sentences(self, counts: Counts) -> list[str]:
        tasks = [task for task, (cut, _) in counts.items() if cut]
        plain = [task for task in tasks if task not in self.windows]
        groups = [plain] * bool(plain) + [[task] for task in tasks if task in self.windows]
        sentences = []
        for group in groups:
            listed = [f"{counts[task][0]:,} of {counted(counts[task][1], 'row')} of task {task}" for task in group]
            where = "after" if group[0] in self.windows else "at"
            sentences.append(
                f"{' and '.join(listed)} were cut {where} {self.longest(group[0])}: {self.remedy(group[0])}"
            )
        return sentences
