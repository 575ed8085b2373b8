"""Windows: the overlapping parts in which the model reads a text that is longer than the longest sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer

from mbert_cli.recipe.long_texts import WindowsSection


@dataclass(frozen=True)
class Windows:
    """The windows of many texts, in the order of the texts. A text that fits into one sequence is one window.

    Args:
        lengths: number of tokens of each window, with its special tokens.
        counts: number of windows of each text.
    """

    lengths: np.ndarray
    counts: np.ndarray

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum(self.counts) - self.counts

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Return the index of each window of some texts, in the order of the texts."""
        counts = self.counts[rows]
        before = np.cumsum(counts) - counts
        return np.arange(counts.sum()) + np.repeat(self._starts[rows] - before, counts)

    def take(self, rows: np.ndarray) -> "Windows":
        """Return the windows of some texts."""
        return Windows(self.lengths[self.places(rows)], self.counts[rows])

    def joined(self, other: "Windows") -> "Windows":
        """Return the windows of these texts and then of other texts."""
        return Windows(np.concatenate([self.lengths, other.lengths]), np.concatenate([self.counts, other.counts]))

    @classmethod
    def of(cls, lengths: np.ndarray, longer: dict[int, list[int]]) -> "Windows":
        """Return the windows of texts.

        Args:
            lengths: number of tokens of each text, in all of its windows.
            longer: for each text with several windows, the number of tokens of each.
        """
        counts = np.ones(len(lengths), np.int64)
        for row, own in longer.items():
            counts[row] = len(own)
        of_windows = np.repeat(lengths, counts)
        windows = cls(of_windows, counts)
        for row, own in longer.items():
            start = windows._starts[row]
            of_windows[start : start + len(own)] = own
        return windows


class WindowedText(NamedTuple):
    """The windows of one text, or of one pair that is read as one sequence.

    Args:
        ids: token ids of all windows, int32.
        types: the token type of each id, uint8.
        lengths: number of tokens of each window.
        is_cut: whether a part of the text is in no window.
    """

    ids: np.ndarray
    types: np.ndarray
    lengths: list[int]
    is_cut: bool


Input = str | tuple[str, str]
"""A text, or the two texts of a pair that is read as one sequence."""


class LongTextReader:
    """Divides texts that are longer than a sequence into windows.

    Every window has the special tokens of a sequence. A window begins with the last `stride` tokens of the window
    before it, as in Hugging Face tokenizers (`stride` with `return_overflowing_tokens`). Of a pair, the longer text is
    divided, and each window also contains the shorter text, as in extractive question answering. The shorter text
    has at most half of a window; the rest is cut. The windows of the longer text then share at most half of their
    part of it.

    Args:
        tokenizer: truncates at `max_length`.
        max_length: number of tokens of a window, with its special tokens.
        section: overlap and largest number of windows.
    """

    def __init__(self, tokenizer: FastTokenizer, max_length: int, section: WindowsSection) -> None:
        self._tokenizer, self._max_length, self._section = tokenizer, max_length, section

    def read(self, inputs: Sequence[Input]) -> list[WindowedText]:
        """Return the windows of texts, or of pairs. All inputs have the same form."""
        if not inputs:
            return []
        texts = [each if isinstance(each, tuple) else (each,) for each in inputs]
        frame = _Frame.of(self._tokenizer, len(texts[0]))
        return [self._windows(frame, *own) for own in zip(*map(self._tokens, zip(*texts, strict=True)), strict=True)]

    def _tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of all tokens of each text, without special tokens."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [_all_ids(encoding) for encoding in encodings]

    def _windows(self, frame: "_Frame", *texts: np.ndarray) -> WindowedText:
        room, stride, divided = self._max_length - frame.size, self._section.stride, 0
        is_cut = False
        if len(texts) == 2:
            divided = int(len(texts[1]) > len(texts[0]))
            shorter = texts[1 - divided][: room // 2]
            is_cut = len(shorter) < len(texts[1 - divided])
            texts = (shorter, texts[1]) if divided else (texts[0], shorter)
            room -= len(shorter)
            stride = min(stride, room // 2)
        length = len(texts[divided])
        count = 1 + max(0, -(-(length - room) // (room - stride)))
        starts = [index * (room - stride) for index in range(min(count, self._section.most_read))]
        windows = [frame.around(_replaced(texts, divided, texts[divided][at : at + room])) for at in starts]
        ids, types = (np.concatenate(parts) for parts in zip(*windows, strict=True))
        return WindowedText(ids, types, [len(own) for own, _ in windows], is_cut or count > len(starts))


def _all_ids(encoding: Encoding) -> np.ndarray:
    parts = [encoding.ids, *(part.ids for part in encoding.overflowing)]
    return np.concatenate([np.array(part, dtype=np.int32) for part in parts])


def _replaced(texts: tuple[np.ndarray, ...], index: int, text: np.ndarray) -> list[np.ndarray]:
    return [text if place == index else own for place, own in enumerate(texts)]


class _Frame(NamedTuple):
    """The special tokens of a sequence.

    Args:
        special: the special tokens before the first text, and after each text: pairs of ids and token types.
        text_types: the token type of each text.
    """

    special: list[tuple[np.ndarray, np.ndarray]]
    text_types: list[int]

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return sum(len(ids) for ids, _ in self.special)

    @classmethod
    def of(cls, tokenizer: FastTokenizer, texts: int) -> "_Frame":
        """Return the special tokens that a tokenizer puts around one text or two."""
        encoding = tokenizer.encode("a", "a" if texts == 2 else None)
        tokens = list(zip(encoding.sequence_ids, encoding.ids, encoding.type_ids, strict=True))
        special: list[list[tuple[int, int]]] = [[]]
        text_types = []
        for text, group in groupby(tokens, key=lambda token: token[0]):
            own = [(id_, type_) for _, id_, type_ in group]
            if text is None:
                special[-1] = own
            else:
                text_types.append(own[0][1])
                special.append([])
        arrays = [
            (np.array([id_ for id_, _ in own], np.int32), np.array([type_ for _, type_ in own], np.uint8))
            for own in special
        ]
        return cls(arrays, text_types)

    def around(self, texts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and token types of a sequence."""
        first, *rest = self.special
        ids, types = [first[0]], [first[1]]
        for text, type_, (after, after_types) in zip(texts, self.text_types, rest, strict=True):
            ids += [text, after]
            types += [np.full(len(text), type_, np.uint8), after_types]
        return np.concatenate(ids), np.concatenate(types)
