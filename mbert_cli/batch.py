"""Packed sentences: one stream of tokens without padding, and a layout with the position of each sentence."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Side = Literal["whole", "first", "second"]
"""The part of an example in one input sequence: its `first` text, its `second` text, or the `whole` example, which is
its only text, or both texts in one sequence."""

# Attention pads sentences to the longest in their bucket. Because widths double, at most half of a block is padding.
_BUCKET_WIDTHS = 2 ** np.arange(3, 18)  # up to 131,072 tokens, more than any `max_length`


capturing: ContextVar[bool] = ContextVar("capturing", default=False)
"""Whether a CUDA graph is being captured. A copy from the CPU would repeat the values of one step in all steps."""


def as_tensor(values: np.ndarray, device: torch.device | str) -> Tensor:
    """Copy an array to a device."""
    return to_device(torch.from_numpy(values), device)


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a CPU tensor to a device; to a GPU asynchronously through pinned memory."""
    if capturing.get():
        raise RuntimeError("a CUDA graph cannot contain a copy from the CPU")
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def as_tensors(arrays: Sequence[np.ndarray], device: torch.device | str) -> list[Tensor]:
    """Copy arrays to a device; to a GPU all at once, because starting a copy takes longer than a short copy."""
    if torch.device(device).type != "cuda":
        return [torch.from_numpy(each) for each in arrays]
    return unpacked(as_tensor(packed(arrays), device), arrays)


def packed(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the bytes of arrays of any types as one int32 array; each array starts at a multiple of 16 bytes."""
    parts = [np.frombuffer(each.tobytes() + bytes(-each.nbytes % 16), np.int32) for each in arrays]
    return np.concatenate([np.empty(0, np.int32), *parts])


def unpacked(buffer: Int[Tensor, " words"], like: Sequence[np.ndarray]) -> list[Tensor]:
    """Return the arrays as views of a copy of the result of `packed`; `like` gives their shapes and types."""
    tensors, start = [], 0
    for each in like:
        words = -(-each.nbytes // 16) * 4
        view = buffer[start : start + words].view(torch.from_numpy(np.empty(0, each.dtype)).dtype)
        tensors.append(view[: each.size].view(each.shape))
        start += words
    return tensors


@dataclass(frozen=True)
class Bucket:
    """Sentences of similar length, which attention processes as one padded block.

    Args:
        sentences: number of sentences.
        width: length of the longest sentence.
        mask: True at real tokens, one row per sentence; None if every sentence has `width` tokens.
    """

    sentences: int
    width: int
    mask: Bool[Tensor, "sentences width"] | None


class Layout:
    """Positions of the sentences in a packed batch.

    Only attention and pooling need it; token-wise modules do not.

    Args:
        lengths: number of tokens of each sentence, in the order of the stream; each at least 1.
        segments: number of sentences of each segment (contiguous sentences of one task). Default: one segment.
        device: device of the index tensors.
        numbers: the place of each sentence's first token in the whole batch. Default: its place in this stream.
        dummies: for each segment, the number of dummy sentences at its end; empty if there is no padding.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        segments: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        numbers: np.ndarray | None = None,
        dummies: Sequence[int] = (),
    ) -> None:
        self.device, self.dummies = torch.device(device), tuple(dummies)
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._ends = np.cumsum(self._lengths)
        self._segments = [len(self._lengths)] if segments is None else list(segments)
        self.numbers = self.host_starts if numbers is None else numbers
        self.loaded: dict[str, Tensor] = {}
        assert sum(self._segments) == len(self._lengths), "segments must cover every sentence"
        assert self._lengths.size == 0 or self._lengths.min() > 0, "a packed sentence has at least one token"

    @property
    def num_sentences(self) -> int:
        """Number of sentences in the stream."""
        return len(self._lengths)

    @property
    def num_tokens(self) -> int:
        """Number of tokens in the stream."""
        return int(self._ends[-1]) if self.num_sentences else 0

    @property
    def longest(self) -> int:
        """Number of tokens of the longest sentence."""
        return int(self._lengths.max(initial=0))

    @property
    def host_lengths(self) -> np.ndarray:
        """Number of tokens of each sentence, as a NumPy array."""
        return self._lengths

    @property
    def host_starts(self) -> np.ndarray:
        """Index of each sentence's first token, as a NumPy array."""
        return self._ends - self._lengths

    @cached_property
    def lengths(self) -> Int[Tensor, " sentences"]:
        """Number of tokens of each sentence."""
        return _loaded(self, "lengths")

    @cached_property
    def first_tokens(self) -> Int[Tensor, " sentences"]:
        """Index of each sentence's first token, its [CLS]."""
        return _loaded(self, "first_tokens")

    @cached_property
    def bounds(self) -> Int[Tensor, " bounds"]:
        """Index of each sentence's first token, then of the end of the stream; int32."""
        return _loaded(self, "bounds")

    @cached_property
    def sentence_of_token(self) -> Int[Tensor, " tokens"]:
        """For each token, the index of its sentence."""
        return _loaded(self, "sentence_of_token")

    @cached_property
    def sentence_bounds(self) -> Int[Tensor, "2 tokens"]:
        """For each token, the index of the first token of its sentence, and of the end of its sentence; int32."""
        return _loaded(self, "sentence_bounds")

    @cached_property
    def rows(self) -> Int[Tensor, " tokens"]:
        """For each token, its place in the whole batch. Dropout masks depend on it."""
        return _loaded(self, "rows")

    @property
    def host_rows(self) -> np.ndarray:
        """For each token, its place in the whole batch, as a NumPy array."""
        return np.arange(self.num_tokens) + np.repeat(self.numbers - self.host_starts, self._lengths)

    @cached_property
    def segments(self) -> tuple["Layout", ...]:
        """The layouts of the segments of the stream, one per task."""
        if len(self._segments) == 1:
            return (self,)
        ends = np.cumsum(self._segments)
        return tuple(
            Layout(self._lengths[end - count : end], None, self.device, self.numbers[end - count : end])
            for count, end in zip(self._segments, ends, strict=True)
        )

    @property
    def segment_tokens(self) -> list[int]:
        """Number of tokens of each segment."""
        return [segment.num_tokens for segment in self.segments]

    @property
    def segment_sentences(self) -> list[int]:
        """Number of sentences of each segment."""
        return list(self._segments)

    def joined(self, windows: "Layout") -> "Layout":
        """Return the layout of texts, given the layout of their windows, which are the sentences of this layout."""
        return Layout(np.add.reduceat(self._lengths, windows.host_starts), None, self.device)

    @cached_property
    def buckets(self) -> tuple[Bucket, ...]:
        """The blocks of sentences for attention, shortest first."""
        return self._padding[0]

    @property
    def bucket_slots(self) -> list[int]:
        """Number of slots of each bucket, including padding."""
        return [bucket.sentences * bucket.width for bucket in self.buckets]

    @cached_property
    def bucket_segments(self) -> tuple[Int[Tensor, " sentences"], ...]:
        """For each bucket, the segment index of each of its sentences."""
        of_sentence = np.repeat(np.arange(len(self._segments)), self._segments)
        of_bucket = np.searchsorted(_BUCKET_WIDTHS, self._lengths)
        return tuple(as_tensor(of_sentence[of_bucket == bucket], self.device) for bucket in np.unique(of_bucket))

    @cached_property
    def token_of_slot(self) -> Int[Tensor, " slots"]:
        """For every slot of all buckets, the index of its token; for padding, the first token of its sentence."""
        return self._padding[1]

    @cached_property
    def slot_of_token(self) -> Int[Tensor, " tokens"]:
        """For every token, the index of its slot."""
        return self._padding[2]

    @cached_property
    def padding_slots(self) -> Int[Tensor, " padding"]:
        """The slots without a token."""
        return self._padding[3]

    @cached_property
    def _padding(self) -> tuple[tuple[Bucket, ...], Tensor, Tensor, Tensor]:
        return _padded(self._lengths, self.device)


def load_with(layout: Layout, arrays: Sequence[np.ndarray]) -> list[Tensor]:
    """Return arrays on the device of a layout; a GPU receives the arrays of the layout in the same copy."""
    if layout.device.type != "cuda":
        return as_tensors(arrays, layout.device)
    tensors = as_tensors([*(array(layout) for array in ARRAYS.values()), *arrays], layout.device)
    layout.loaded.update(zip(ARRAYS, tensors, strict=False))
    return tensors[len(ARRAYS) :]


def _loaded(layout: Layout, name: str) -> Tensor:
    if name not in layout.loaded and layout.device.type == "cuda":
        load_with(layout, [])
    return layout.loaded[name] if name in layout.loaded else as_tensor(ARRAYS[name](layout), layout.device)


ARRAYS: dict[str, Callable[[Layout], np.ndarray]] = {
    "lengths": lambda layout: layout.host_lengths,
    "first_tokens": lambda layout: layout.host_starts,
    "bounds": lambda layout: np.append(0, layout.host_lengths.cumsum()).astype(np.int32),
    "sentence_of_token": lambda layout: np.repeat(np.arange(layout.num_sentences), layout.host_lengths),
    "sentence_bounds": lambda layout: np.array(
        [layout.host_starts, layout.host_starts + layout.host_lengths], np.int32
    ).repeat(layout.host_lengths, 1),
    "rows": lambda layout: layout.host_rows,
}
"""The arrays of a layout that a GPU receives together."""


def _padded(lengths: np.ndarray, device: torch.device) -> tuple[tuple[Bucket, ...], Tensor, Tensor, Tensor]:
    """Return the buckets of sentences, `token_of_slot`, `slot_of_token` and `padding_slots` of a layout."""
    starts = np.cumsum(lengths) - lengths
    bucket_of_sentence = np.searchsorted(_BUCKET_WIDTHS, lengths)
    buckets, token_of_slot, slot_is_token = [], [], []
    slot_of_token = np.empty(lengths.sum(), dtype=np.int64)
    first_slot = 0
    for bucket in np.unique(bucket_of_sentence):
        members = np.flatnonzero(bucket_of_sentence == bucket)
        width = int(lengths[members].max())
        column = np.arange(width)
        real = column < lengths[members, None]
        tokens = starts[members, None] + np.where(real, column, 0)
        slot_of_token[tokens[real]] = first_slot + np.flatnonzero(real)
        mask = None if real.all() else as_tensor(real, device)
        buckets.append(Bucket(len(members), width, mask))
        token_of_slot.append(tokens.ravel())
        slot_is_token.append(real.ravel())
        first_slot += real.size
    return (
        tuple(buckets),
        as_tensor(np.concatenate(token_of_slot), device),
        as_tensor(slot_of_token, device),
        as_tensor(np.flatnonzero(~np.concatenate(slot_is_token)), device),
    )


@dataclass(frozen=True)
class Batch:
    """The packed sentences of one step: all tasks, both sides of pairs.

    Args:
        token_ids: vocabulary ids.
        token_types: 0 for a first sentence, 1 for the second sentence of a pair in one sequence.
        positions: position of each token in its sentence, from 0.
        layout: positions of the sentences in the stream; its segments are in the order of `tasks`.
        tasks: the names of the tasks, one per segment.
        labels: for each task, one label per example; empty if there are no labels.
        features: the tokens' hidden states after the encoder's last layer, if they are already known.
        soft: soft labels of the tasks that have them, one row per example.
        places: in a part of a batch: for each task, the index of each example among the task's examples in the whole
            batch. Otherwise empty.
        windows: for each task with a text of several windows: a layout whose lengths are the number of windows of each
            text. Each window is a sentence of the stream.
    """

    token_ids: Int[Tensor, " tokens"]
    token_types: Int[Tensor, " tokens"]
    positions: Int[Tensor, " tokens"]
    layout: Layout
    tasks: tuple[str, ...]
    labels: Mapping[str, Float[Tensor, "_ ..."]]
    features: Float[Tensor, "tokens hidden"] | None = None
    soft: Mapping[str, Float[Tensor, "_ _"]] = field(default_factory=dict)
    places: Mapping[str, Int[Tensor, " examples"]] = field(default_factory=dict)
    windows: Mapping[str, Layout] = field(default_factory=dict)


class _ToSlots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.token_of_slot).index_fill_(0, layout.padding_slots, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return to_tokens(gradients[0], ctx.layout), None


class _ToTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.slot_of_token)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return to_slots(gradients[0], ctx.layout), None


def to_slots(x: Float[Tensor, "tokens features"], layout: Layout) -> Float[Tensor, "slots features"]:
    """Copy packed rows to the slots of all buckets; padding is zero.

    This function and `to_tokens` are each other's adjoint, so forward and backward passes are plain gathers. Without
    scatter additions the result is deterministic.
    """
    return cast(Tensor, _ToSlots.apply(x, layout))


def to_tokens(x: Float[Tensor, "slots features"], layout: Layout) -> Float[Tensor, "tokens features"]:
    """Collect the packed rows from the slots of all buckets, without padding."""
    return cast(Tensor, _ToTokens.apply(x, layout))
