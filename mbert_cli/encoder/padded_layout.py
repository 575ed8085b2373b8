"""The layout of sentences that are padded to one width, for exported models."""

from typing import Any

from jaxtyping import Bool
from torch import Tensor

from mbert_cli.batch import Layout


class PaddedLayout:
    """Consecutive sentences of one task, padded to one width; the stream includes the padding tokens.

    This is not a `Layout`, which has the length of each sentence as a number. While a model is exported, only the mask
    is known, and its sizes may be symbolic.

    Args:
        mask: True at real tokens.
    """

    def __init__(self, mask: Bool[Tensor, "sentences width"]) -> None:
        self.mask = mask

    @property
    def longest(self) -> Any:
        """Number of tokens of a sentence, including padding: an int, or symbolic."""
        return self.mask.shape[1]

    @property
    def rows(self) -> None:
        """Only training needs the places of tokens."""

    @property
    def segments(self) -> tuple["PaddedLayout", ...]:
        """The layouts of the segments: the stream is one segment."""
        return (self,)

    @property
    def segment_tokens(self) -> list[Any]:
        """Number of tokens of each segment, including padding: an int, or symbolic."""
        return [self.mask.numel()]

    @property
    def segment_sentences(self) -> list[Any]:
        """Number of sentences of each segment: an int, or symbolic."""
        return [self.mask.shape[0]]  # not len(), which would fix a symbolic size


AnyLayout = Layout | PaddedLayout
"""The layout of a stream. Token-wise modules and adapters need only its segments; attention needs all of it."""
