"""Functions that the wrappers of all Triton kernels use: data types, sizes of tiles, arguments of dropout."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from jaxtyping import Int
from torch import Tensor

from mbert_cli.encoder.dropout import dropped_levels, site_key

kernel: Any = triton.jit(
    do_not_specialize=("rows", "tokens", "parts", "dropped", "eps"), do_not_specialize_on_alignment=("key",)
)
"""Compiles a kernel. New values of the arguments that differ between steps do not compile it again."""
PARTS = 256
"""The largest number of partial sums of a column. It is fixed, so the order of additions does not depend on the GPU."""
_VALUES = 2048  # values of a tile
_DTYPES = (torch.float32, torch.bfloat16, torch.float64)


class Dropping(NamedTuple):
    """The arguments of dropout in a kernel.

    Args:
        key: key of the site; None without dropout.
        rows: the number of each row; None without dropout.
        dropped: how many of 65,536 values are dropped.
    """

    key: Int[Tensor, ""] | None
    rows: Int[Tensor, " rows"] | None
    dropped: int


def dropping(p: float, rows: Callable[[], Tensor], device: torch.device) -> Dropping:
    """Return the arguments of dropout for the next site.

    Args:
        p: probability of dropping a value.
        rows: returns the number of each row; is called only if something is dropped.
        device: device of the kernel.
    """
    dropped = dropped_levels(p)
    if not dropped:
        return Dropping(None, None, 0)
    return Dropping(site_key(device), rows(), dropped)


def fits(*tensors: Tensor) -> bool:
    """Return whether the kernels support these tensors."""
    return all(x.dtype in _DTYPES and x.numel() for x in tensors)


def sum_dtype(x: Tensor) -> Any:
    """Return the data type of sums: fp32, or fp64 for values in fp64."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def sums_like(x: Tensor, *sizes: int) -> Tensor:
    """Return memory for partial sums, in the data type of sums."""
    return x.new_empty(sizes, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)


def tile_of(columns: int) -> tuple[int, int]:
    """Return the number of rows and columns of a tile that is as wide as a matrix; the columns are a power of two."""
    width = triton.next_power_of_2(columns)
    return max(1, _VALUES // width), width


def parts_of(rows: int, tile: int) -> int:
    """Return the number of programs that share the rows of a matrix. Each writes one partial sum of every column."""
    return min(PARTS, triton.cdiv(rows, tile))
