"""Sentences added to a stream, so that the numbers of its tokens are few different ones."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mbert_cli.batch import Layout, as_tensor

_MULTIPLE = 64
_LEAST = 512  # tokens; for fewer, the padding would cost more than it saves


class Padding:
    """A stream with a sentence added at its end, or at the end of each segment, that nobody reads.

    The libraries of matrix products prepare themselves for every new number of tokens, which takes time and memory, and
    are fastest at multiples of 64.

    Args:
        layout: of the stream.
        segments: whether products are made of single segments too, as adapters do.
    """

    def __init__(self, layout: Layout, segments: bool) -> None:
        own = layout.segment_tokens
        added = [_missing(tokens) if segments else 0 for tokens in own]
        last = _missing(sum(own) + sum(added))
        self.more_segments = 1 if last else 0
        self._source: Tensor | None = None
        self.layout = layout
        if last or any(added):
            self._build(layout, own, added, last)

    def _build(self, layout: Layout, own: Sequence[int], added: Sequence[int], last: int) -> None:
        ends = np.cumsum(own)
        sources, lengths, sentences = [], [], []
        of_segments = np.split(layout.host_lengths, np.cumsum(layout.segment_sentences)[:-1])
        for end, tokens, more, each in zip(ends, own, added, of_segments, strict=True):
            sources += [np.arange(end - tokens, end), np.full(more, end - tokens)]
            lengths.append(np.append(each, more) if more else each)
            sentences.append(len(lengths[-1]))
        if last:
            sources.append(np.zeros(last, np.int64))
            lengths.append(np.array([last]))
            sentences.append(1)
        # Of the sources every second one is added, and so is the one beyond all segments.
        is_added = [index % 2 == 1 or index == 2 * len(own) for index in range(len(sources))]
        added_here = np.repeat(is_added, [len(each) for each in sources])
        device = layout.device
        self.layout = Layout(np.concatenate(lengths), sentences, device)
        self._source = as_tensor(np.concatenate(sources), device)
        self._real = as_tensor(np.flatnonzero(~added_here), device)
        self._added = as_tensor(np.flatnonzero(added_here), device)

    def pad(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "padded *rest"]:
        """Return a value a token with those of the added ones, which are copies of a token of the stream."""
        return x if self._source is None else x.index_select(0, self._source)

    def unpad(self, h: Float[Tensor, "padded hidden"]) -> Float[Tensor, "tokens hidden"]:
        """Return the values of the stream's own tokens."""
        return h if self._source is None else cast(Tensor, _Unpad.apply(h, self._real, self._source, self._added))


def _missing(tokens: int) -> int:
    return -tokens % _MULTIPLE if tokens >= _LEAST else 0


class _Unpad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, real: Int[Tensor, " tokens"], source: Tensor, added: Tensor) -> Tensor:
        ctx.places = source, added
        return h.index_select(0, real)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        source, added = ctx.places
        return gradients[0].index_select(0, source).index_fill_(0, added, 0), None, None, None
