"""Packed sentences: one stream of tokens without padding, and the layout that says where each sentence lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Side = Literal["whole", "first", "second"]
"""A sequence that the encoder reads of an example: its `first` or `second` text alone, or the `whole` of it: its only
text, or both in one sequence."""

# Attention pads sentences only to the longest of their bucket; widths that double bound the waste to a half.
_BUCKET_WIDTHS = np.array([8, 16, 32, 64, 128, 256, 512, 1024])


def as_tensor(values: np.ndarray, device: torch.device | str) -> Tensor:
    """Copy an array to a device."""
    return to_device(torch.from_numpy(values), device)


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor of the host's to a device; to a GPU through pinned memory, without waiting."""
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True)
class Bucket:
    """Sentences of similar length, which attention handles as one padded block.

    Args:
        sentences: how many sentences.
        width: the length of the longest.
        mask: True at real tokens, one row a sentence; None when every sentence is `width` long.
    """

    sentences: int
    width: int
    mask: Bool[Tensor, "sentences width"] | None


class Layout:
    """Where each sentence of a packed batch lies.

    Token-wise modules never look at it; attention and pooling do.

    Args:
        lengths: tokens of each sentence, in the order of the stream; each at least 1.
        segments: how many sentences each contiguous segment (the sentences of one task) has; one segment by default.
        device: where index tensors are put.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        segments: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._ends = np.cumsum(self._lengths)
        self._segments = [len(self._lengths)] if segments is None else list(segments)
        assert sum(self._segments) == len(self._lengths), "segments must cover every sentence"
        assert self._lengths.size == 0 or self._lengths.min() > 0, "a packed sentence has at least one token"

    @property
    def num_sentences(self) -> int:
        """How many sentences the stream holds."""
        return len(self._lengths)

    @property
    def num_tokens(self) -> int:
        """How many tokens the stream holds."""
        return int(self._ends[-1]) if self.num_sentences else 0

    @property
    def host_lengths(self) -> np.ndarray:
        """Tokens of each sentence, as an array of the host's."""
        return self._lengths

    @property
    def host_starts(self) -> np.ndarray:
        """Index of each sentence's first token, as an array of the host's."""
        return self._ends - self._lengths

    @cached_property
    def lengths(self) -> Int[Tensor, " sentences"]:
        """Tokens of each sentence."""
        return self._tensor(self._lengths)

    @cached_property
    def first_tokens(self) -> Int[Tensor, " sentences"]:
        """Index of each sentence's first token, its [CLS]."""
        return self._tensor(self._ends - self._lengths)

    @cached_property
    def bounds(self) -> Int[Tensor, " bounds"]:
        """Index of each sentence's first token, and at last of the stream's end, int32."""
        return self._tensor(np.append(0, self._ends).astype(np.int32))

    @cached_property
    def sentence_of_token(self) -> Int[Tensor, " tokens"]:
        """For each token the index of its sentence."""
        return self._tensor(np.repeat(np.arange(self.num_sentences), self._lengths))

    @cached_property
    def segments(self) -> tuple["Layout", ...]:
        """The layouts of the contiguous parts of the stream, one a task."""
        if len(self._segments) == 1:
            return (self,)
        ends = np.cumsum(self._segments)
        return tuple(
            Layout(self._lengths[end - count : end], device=self.device)
            for count, end in zip(self._segments, ends, strict=True)
        )

    @property
    def segment_tokens(self) -> list[int]:
        """How many tokens each segment has."""
        return [segment.num_tokens for segment in self.segments]

    @property
    def segment_sentences(self) -> list[int]:
        """How many sentences each segment has."""
        return list(self._segments)

    @cached_property
    def buckets(self) -> tuple[Bucket, ...]:
        """The blocks of sentences that attention handles, shortest first."""
        return self._padding[0]

    @property
    def bucket_slots(self) -> list[int]:
        """How many padded slots each bucket has."""
        return [bucket.sentences * bucket.width for bucket in self.buckets]

    @cached_property
    def bucket_segments(self) -> tuple[Int[Tensor, " sentences"], ...]:
        """For each bucket the index of each of its sentences' segment."""
        of_sentence = np.repeat(np.arange(len(self._segments)), self._segments)
        of_bucket = np.searchsorted(_BUCKET_WIDTHS, self._lengths)
        return tuple(self._tensor(of_sentence[of_bucket == bucket]) for bucket in np.unique(of_bucket))

    @cached_property
    def token_of_slot(self) -> Int[Tensor, " slots"]:
        """For every padded slot of all buckets the index of its token; a padding slot names its sentence's first."""
        return self._padding[1]

    @cached_property
    def slot_of_token(self) -> Int[Tensor, " tokens"]:
        """For every token the padded slot that holds it."""
        return self._padding[2]

    @cached_property
    def padding_slots(self) -> Int[Tensor, " padding"]:
        """The padded slots that hold no token."""
        return self._padding[3]

    @cached_property
    def _padding(self) -> tuple[tuple[Bucket, ...], Tensor, Tensor, Tensor]:
        starts = self._ends - self._lengths
        bucket_of_sentence = np.searchsorted(_BUCKET_WIDTHS, self._lengths)
        buckets, token_of_slot, slot_is_token = [], [], []
        slot_of_token = np.empty(self.num_tokens, dtype=np.int64)
        first_slot = 0
        for bucket in np.unique(bucket_of_sentence):
            members = np.flatnonzero(bucket_of_sentence == bucket)
            width = int(self._lengths[members].max())
            column = np.arange(width)
            real = column < self._lengths[members, None]
            tokens = starts[members, None] + np.where(real, column, 0)
            slot_of_token[tokens[real]] = first_slot + np.flatnonzero(real)
            mask = None if real.all() else self._tensor(real)
            buckets.append(Bucket(len(members), width, mask))
            token_of_slot.append(tokens.ravel())
            slot_is_token.append(real.ravel())
            first_slot += real.size
        return (
            tuple(buckets),
            self._tensor(np.concatenate(token_of_slot)),
            self._tensor(slot_of_token),
            self._tensor(np.flatnonzero(~np.concatenate(slot_is_token))),
        )

    def _tensor(self, values: np.ndarray) -> Tensor:
        return as_tensor(values, self.device)


@dataclass(frozen=True)
class Batch:
    """Sentences of one step, of all its tasks and both sides of pairs, packed.

    Args:
        token_ids: vocabulary ids.
        token_types: 0 for a first sentence, 1 for a second one that is read together with the first.
        positions: place of each token in its own sentence, from 0.
        layout: where the sentences lie; its segments are in the order of `tasks`.
        tasks: the names of the tasks, one a segment.
        labels: each task's labels, one an example; empty where there are none.
        features: the tokens' hidden states after the encoder's last layer, where they are known already.
        soft: soft labels of the tasks that have them, a row an example.
    """

    token_ids: Int[Tensor, " tokens"]
    token_types: Int[Tensor, " tokens"]
    positions: Int[Tensor, " tokens"]
    layout: Layout
    tasks: tuple[str, ...]
    labels: Mapping[str, Float[Tensor, " examples"]]
    features: Float[Tensor, "tokens hidden"] | None = None
    soft: Mapping[str, Float[Tensor, "_ _"]] = field(default_factory=dict)


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
    """Spread packed rows over the padded slots of all buckets; padding reads as zero.

    This and `to_tokens` are each other's adjoint, so both directions are plain gathers: no scattered additions,
    hence the same result on every run.
    """
    return cast(Tensor, _ToSlots.apply(x, layout))


def to_tokens(x: Float[Tensor, "slots features"], layout: Layout) -> Float[Tensor, "tokens features"]:
    """Collect the packed rows from the padded slots of all buckets, leaving padding behind."""
    return cast(Tensor, _ToTokens.apply(x, layout))
