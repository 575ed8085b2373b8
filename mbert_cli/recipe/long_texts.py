"""The section `windows` of a task: how texts are read that are longer than the longest sequence."""

from typing import Annotated, Literal

from pydantic import Field

from mbert_cli.recipe.section import Section

SHORTEST = 8
"""The smallest `training.max_length` with windows, in tokens."""


class WindowsSection(Section):
    """Texts of more than `max_length` tokens are read in overlapping windows.

    Args:
        stride: number of tokens that a window shares with the window before it, as in Hugging Face tokenizers; at most
            half of `max_length`.
        pool: how the vectors of the windows become the vector of the text: their `mean`, or their `max` in each
            feature; `first` reads only the first window, so that longer texts are cut.
        most: the largest number of windows of a text; the rest of the text is cut.
    """

    stride: Annotated[int, Field(ge=0, le=50_000)] = 64
    pool: Literal["mean", "max", "first"] = "mean"
    most: Annotated[int, Field(ge=1, le=1000)] = 16

    @property
    def most_read(self) -> int:
        """The largest number of windows that are read of a text."""
        return 1 if self.pool == "first" else self.most

    def describe(self) -> str:
        """Return the section in words, for reports and model cards."""
        if self.most_read == 1:
            return "only the first window of a long text"
        return f"long texts in at most {self.most} windows that share {self.stride} tokens ({self.pool})"

    def problem(self, max_length: int) -> tuple[str, str] | None:
        """Return the key and the problem of a value that does not fit a `max_length`; None if all fit."""
        if max_length < SHORTEST:
            return "", f"needs a training.max_length of at least {SHORTEST} tokens, but it is {max_length}"
        if self.stride > max_length // 2:
            return "stride", (
                f"must be at most {max_length // 2} tokens, half of training.max_length, but is {self.stride}"
            )
        return None
