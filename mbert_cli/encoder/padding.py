"""Padding of a packed stream, so that few different numbers of tokens occur."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mbert_cli.batch import Layout, as_tensor

_MULTIPLE = 64
_LEAST = 512  # tokens; for fewer tokens the padding costs more than it saves


class Padding:
    """Appends a dummy sentence to a stream, and optionally to each of its segments, to reach a multiple of 64 tokens.

    Libraries for matrix products spend time and memory on every new number of tokens, and are fastest at multiples of
    64.

    Args:
        layout: layout of the stream.
        segments: also pad each segment, because adapters multiply single segments.
    """

    def __init__(self, layout: Layout, segments: bool) -> None:
        counts = layout.segment_tokens
        added = [_missing(tokens) if segments else 0 for tokens in counts]
        last = _missing(sum(counts) + sum(added))
        self.more_segments = 1 if last else 0
        self._source: Tensor | None = None
        self._real: Tensor | None = None  # None if all padding is at the end
        self.layout = layout
        if last or any(added):
            self._build(layout, counts, added, last)

    def _build(self, layout: Layout, counts: Sequence[int], added: Sequence[int], last: int) -> None:
        ends = np.cumsum(counts)
        sources, lengths, sentences, numbers = [], [], [], []
        for end, tokens, more, segment in zip(ends, counts, added, layout.segments, strict=True):
            sources += [np.arange(end - tokens, end), np.full(more, end - tokens)]
            lengths.append(np.append(segment.host_lengths, more) if more else segment.host_lengths)
            numbers.append(np.append(segment.numbers, 0) if more else segment.numbers)
            sentences.append(len(lengths[-1]))
        if last:
            sources.append(np.zeros(last, np.int64))
            lengths.append(np.array([last]))
            numbers.append(np.array([0]))
            sentences.append(1)
        # Every second source is padding, and so is the one after all segments.
        is_added = [index % 2 == 1 or index == 2 * len(counts) for index in range(len(sources))]
        added_here = np.repeat(is_added, [len(source) for source in sources])
        device = layout.device
        self.layout = Layout(np.concatenate(lengths), sentences, device, np.concatenate(numbers))
        self._source = as_tensor(np.concatenate(sources), device)
        self._tokens = layout.num_tokens
        if any(added):
            self._real = as_tensor(np.flatnonzero(~added_here), device)
            self._added = as_tensor(np.flatnonzero(added_here), device)

    def pad(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "padded *rest"]:
        """Add values for the padding tokens; they are copies of the values of a token of the stream."""
        if self._source is None:
            return x
        if x.device.type == "cpu" and not x.is_floating_point():
            return torch.from_numpy(x.numpy()[self._source.numpy()])  # faster than PyTorch's operation
        return x.index_select(0, self._source)

    def unpad(self, h: Float[Tensor, "padded hidden"]) -> Float[Tensor, "tokens hidden"]:
        """Remove the values of the padding tokens."""
        if self._source is None:
            return h
        if self._real is None:
            return h[: self._tokens]
        return cast(Tensor, _Unpad.apply(h, self._real, self._source, self._added))


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
