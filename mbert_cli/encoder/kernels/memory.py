"""Memory for activations, kept from step to step.

Fresh memory costs as much as computing on it: the system clears every page when it is first written to. And what an
allocator gets back from one step rarely fits the next one, which has some tokens more or less. So the activations of a
model lie in blocks that have room for the most rows seen so far, and go back to a pool when their tensors are gone.
"""

import mmap
import weakref
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_STEP = 1024  # rows that the room in a block is a multiple of
_LEAST = 256  # rows that are worth a block


class _Pool:
    """Blocks of memory, by size; all have room for `rows` rows, of some number of bytes each."""

    def __init__(self) -> None:
        self.rows = 0
        self.free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self.lent: dict[int, tuple[Any, int, np.ndarray]] = {}

    def take(self, rows: int, row_bytes: int) -> np.ndarray:
        """Return bytes for some rows; they go back when nobody holds the array."""
        if rows > self.rows:
            self.rows = -(-rows // _STEP) * _STEP
            self.free.clear()
        size = self.rows * row_bytes
        try:
            block = self.free[size].pop()
        except IndexError:
            block = np.frombuffer(mmap.mmap(-1, size), np.uint8)
        lent = block[: rows * row_bytes]
        reference = weakref.ref(lent, self.give_back)
        self.lent[id(reference)] = (reference, self.rows, block)
        return lent

    def give_back(self, reference: Any) -> None:
        _, rows, block = self.lent.pop(id(reference))
        if rows == self.rows:
            self.free[len(block)].append(block)


_pool = _Pool()


def empty_rows(like: Tensor, columns: int | None = None) -> Float[Tensor, "rows columns"]:
    """Return a matrix of values that nobody set, with the rows, the precision and the device of another.

    Args:
        like: the other one.
        columns: by default as many as that has.
    """
    rows, features = like.shape
    columns = features if columns is None else columns
    if rows < _LEAST or like.device.type != "cpu":
        return like.new_empty(rows, columns)
    lent = _pool.take(rows, columns * like.element_size())
    return torch.frombuffer(lent, dtype=like.dtype).view(rows, columns)
