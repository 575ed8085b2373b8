"""Padding of a packed stream, so that few different numbers of tokens occur."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mbert_cli.batch import Layout, load_with

_MIN_TOKENS = 512  # for fewer tokens, the padding costs more than it saves


@dataclass(frozen=True)
class Rounding:
    """How numbers of tokens are rounded up.

    Args:
        multiple: rounded numbers are multiples of this number.
        sentences: number of dummy sentences that are added. If it is above 1, they are always added, so that the
            number of sentences does not depend on the number of tokens.
    """

    multiple: int
    sentences: int

    def added(self, tokens: int) -> list[int]:
        """Return the lengths of the dummy sentences that are added to a number of tokens."""
        missing = -tokens % self.multiple
        if tokens == 0 or (self.sentences == 1 and (tokens < _MIN_TOKENS or not missing)):
            return []
        if missing < self.sentences:
            missing += self.multiple
        return [(missing + index) // self.sentences for index in range(self.sentences)]


FAST = Rounding(64, 1)
"""Libraries for matrix products spend time and memory on every new number of tokens, and are fastest at multiples of
64."""
STATIC = Rounding(256, 4)
"""For CUDA graphs: only few different shapes occur. The four dummy sentences have at most 65 tokens each. See
`model.static_shapes`."""


class Padding:
    """Appends dummy sentences to a stream, and optionally to each of its segments, to round the number of tokens up.

    A stream that already contains dummy sentences stays as it is.

    Args:
        layout: layout of the stream.
        segments: also pad each segment, because adapters multiply single segments.

    Attributes:
        layout: layout of the padded stream.
        more_segments: 1 if the last dummy sentences are a segment of their own, otherwise 0.
    """

    def __init__(self, layout: Layout, segments: bool) -> None:
        counts = layout.segment_tokens
        added = [FAST.added(tokens) if segments and not layout.dummies else [] for tokens in counts]
        last = [] if layout.dummies else FAST.added(sum(counts) + sum(map(sum, added)))
        self.more_segments = 1 if last else 0
        self._source: Tensor | None = None
        self._real: Tensor | None = None  # None if all padding is at the end
        self.layout = layout
        if last or any(added):
            self._build(layout, counts, added, last)

    def _build(self, layout: Layout, counts: Sequence[int], added: Sequence[list[int]], last: list[int]) -> None:
        ends = np.cumsum(counts)
        sources, lengths, sentences, numbers = [], [], [], []
        for end, tokens, more, segment in zip(ends, counts, added, layout.segments, strict=True):
            sources += [np.arange(end - tokens, end), np.full(sum(more), end - tokens)]
            lengths.append(np.append(segment.host_lengths, np.array(more, np.int64)))
            numbers.append(np.append(segment.numbers, np.zeros(len(more), np.int64)))
            sentences.append(len(lengths[-1]))
        if last:
            sources.append(np.zeros(sum(last), np.int64))
            lengths.append(np.array(last))
            numbers.append(np.zeros(len(last), np.int64))
            sentences.append(len(last))
        # Every second source is padding, and so is the one after all segments.
        is_added = [index % 2 == 1 or index == 2 * len(counts) for index in range(len(sources))]
        added_here = np.repeat(is_added, [len(source) for source in sources])
        self.layout = Layout(np.concatenate(lengths), sentences, layout.device, np.concatenate(numbers))
        self._tokens = layout.num_tokens
        places = [np.flatnonzero(~added_here), np.flatnonzero(added_here)] if any(added) else []
        self._source, *on_device = load_with(self.layout, [np.concatenate(sources), *places])
        if on_device:
            self._real, self._added = on_device

    def pad(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "padded *rest"]:
        """Add the values of the padding tokens, which are copies of the values of real tokens."""
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


class _Unpad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, real: Int[Tensor, " tokens"], source: Tensor, added: Tensor) -> Tensor:
        ctx.places = source, added
        return h.index_select(0, real)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        source, added = ctx.places
        return gradients[0].index_select(0, source).index_fill_(0, added, 0), None, None, None
