"""Memory for activations and gradients that is reused between steps.

New memory costs as much time as the computation in it, because the operating system clears every page at the first
write. Memory that an allocator frees after one step rarely fits the next step, which has a slightly different number of
tokens. So activations use blocks with room for the largest number of rows so far. A block returns to a pool when its
tensors are deleted. Gradients of weights do the same; their sizes never change.
"""

import mmap
import weakref
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

_STEP = 1024  # the capacity of a block is a multiple of this number of rows
_LEAST = 256  # minimum rows for a block
_LEAST_BYTES = 1 << 16  # minimum bytes of a gradient for a block


class _Pool:
    """Blocks of memory, by size."""

    def __init__(self) -> None:
        self.free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self.lent: dict[int, tuple[Any, np.ndarray]] = {}

    def take(self, size: int, room: int) -> np.ndarray:
        """Return the first `size` bytes of a block of `room` bytes; it returns to the pool after the last reference."""
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
    """A pool of blocks with room for the same number of rows; rows may have different numbers of bytes."""

    def __init__(self) -> None:
        self.rows = 0
        self.pool = _Pool()

    def take(self, rows: int, row_bytes: int) -> np.ndarray:
        """Return memory for `rows` rows."""
        if rows > self.rows:
            self.rows = -(-rows // _STEP) * _STEP
            self.pool = _Pool()  # blocks of the old pool are freed when they return to it
        return self.pool.take(rows * row_bytes, self.rows * row_bytes)


_activations = _RowPool()
_gradients = _Pool()


def empty_rows(
    like: Tensor, columns: int | None = None, dtype: torch.dtype | None = None, rows: int | None = None
) -> Shaped[Tensor, "rows columns"]:
    """Return an uninitialised matrix on the device of another matrix.

    Args:
        like: the other matrix.
        columns: number of columns; by default that of `like`.
        dtype: data type; by default that of `like`.
        rows: number of rows; by default that of `like`.
    """
    columns, dtype = like.shape[1] if columns is None else columns, dtype or like.dtype
    rows = len(like) if rows is None else rows
    if rows < _LEAST or like.device.type != "cpu":
        return like.new_empty(rows, columns, dtype=dtype)
    lent = _activations.take(rows, columns * dtype.itemsize)
    return torch.frombuffer(lent, dtype=dtype).view(rows, columns)


def empty_gradient(like: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Float[Tensor, "rows columns"]:
    """Return an uninitialised matrix on the device of another tensor."""
    size = shape[0] * shape[1] * dtype.itemsize
    if size < _LEAST_BYTES or like.device.type != "cpu":
        return like.new_empty(shape, dtype=dtype)
    return torch.frombuffer(_gradients.take(size, size), dtype=dtype).view(shape)
