"""The longest sequence of a new recipe, and remarks about texts that are longer."""

from collections.abc import Sequence

from mbert_cli.authoring.new_encoder import NewEncoder
from mbert_cli.authoring.task_files import TaskFiles
from mbert_cli.recipe.long_texts import SHORTEST

_TOKENS_A_WORD = 1.5
_LENGTHS = (64, 128, 256, 512)
_MANY = 0.1  # share of the rows
_STRIDE = 64


def max_length_of(groups: Sequence[TaskFiles], encoder: NewEncoder) -> int:
    """Return `training.max_length` for some files, from the mean number of words of their texts."""
    longest = max(files.guess.words for files in groups) * _TOKENS_A_WORD
    # Twice the mean length: few sentences are longer.
    max_length = next((length for length in _LENGTHS if length >= 2 * longest), _LENGTHS[-1])
    return min(max_length, encoder.max_positions or max_length)


def long_text_remarks(groups: Sequence[TaskFiles], max_length: int) -> list[str]:
    """Return a line for each task with many texts that are longer than `max_length`."""
    if max_length < SHORTEST:
        return []
    stride = min(_STRIDE, max_length // 2)
    remarks = []
    for files in groups:
        counts = files.guess.word_counts
        longer = sum(rows for words, rows in counts.items() if words * _TOKENS_A_WORD > max_length)
        share = longer / max(1, sum(counts.values()))
        if share > _MANY:
            remarks += [
                f"{task}: about {share:.0%} of the texts are longer than {max_length} tokens, and training cuts them; "
                f"to read them in windows, add tasks.{task}.windows: {{stride: {stride}}}"
                for task in files.tasks
            ]
    return remarks
