"""Memory for activations and gradients, kept from step to step.

Fresh memory costs as much as computing on it: the system clears every page when it is first written to. And what an
allocator gets back from one step rarely fits the next one, which has some tokens more or less. So the activations of a
model lie in blocks that have room for the most rows seen so far, and go back to a pool when their tensors are gone;
likewise the gradients of its weights, which always fit.
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
_LEAST_BYTES = 1 << 16  # of a gradient that is worth one


class _Pool:
    """Blocks of memory, by size."""

    def __init__(self) -> None:
        self.free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self.lent: dict[int, tuple[Any, np.ndarray]] = {}

    def take(self, size: int, room: int) -> np.ndarray:
        """Return some bytes of a block with room for more; the block goes back when nobody holds them."""
        try:
            block = self.free[room].pop()
        except IndexError:
            block = np.frombuffer(mmap.mmap(-1, room), np.uint8)
        lent = block[:size]
        reference = weakref.ref(lent, self._give_back)
        self.lent[id(reference)] = (reference, block)
        return lent

    def _give_back(self, reference: Any) -> None:
        _, block = self.lent.pop(id(reference))
        self.free[len(block)].append(block)


class _RowPool:
    """A pool whose blocks all have room for the same number of rows, of some number of bytes each."""

    def __init__(self) -> None:
        self.rows = 0
        self.pool = _Pool()

    def take(self, rows: int, row_bytes: int) -> np.ndarray:
        """Return bytes for some rows."""
        if rows > self.rows:
            self.rows = -(-rows // _STEP) * _STEP
            self.pool = _Pool()  # what the old one lent goes when it comes back
        return self.pool.take(rows * row_bytes, self.rows * row_bytes)


_activations = _RowPool()
_gradients = _Pool()


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
    lent = _activations.take(rows, columns * like.element_size())
    return torch.frombuffer(lent, dtype=like.dtype).view(rows, columns)


def empty_gradient(like: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Float[Tensor, "rows columns"]:
    """Return a matrix of values that nobody set, on the device of another tensor."""
    size = shape[0] * shape[1] * dtype.itemsize
    if size < _LEAST_BYTES or like.device.type != "cpu":
        return like.new_empty(shape, dtype=dtype)
    return torch.frombuffer(_gradients.take(size, size), dtype=dtype).view(shape)
