"""Operations with a bias for each segment of a stream, on a GPU.

Segment s has the rows from ends[s - 1] to ends[s] and row s of the biases. Other rows belong to no segment: they are
neither read nor written. The kernels read the ends on the GPU, so the CPU does not wait for them, and a CUDA graph can
be replayed with other ends.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from mbert_cli.encoder.kernels.triton.add_gelu import normal
from mbert_cli.encoder.kernels.triton.launching import kernel, parts_of, sum_dtype, sums_like

MULTIPLE = 8
"""The number of columns must be a multiple of this number: `torch._grouped_mm` reads rows of a multiple of 16 bytes."""
_TILE, _WIDTH = 16, 128


@kernel
@no_type_check
def _add_of_segments(
    z, bias, ends, residual, y, rows, columns, segments,
    gelu: tl.constexpr, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.program_id(1) * width + tl.arange(0, width)
    segment = tl.zeros([tile], tl.int32)
    for each in range(segments):
        segment += (row >= tl.load(ends + each)).to(tl.int32)
    inside = (row < rows)[:, None] & (segment < segments)[:, None] & (column < columns)[None, :]
    place = row.to(tl.int64)[:, None] * columns + column[None, :]
    shift = tl.load(bias + segment[:, None] * columns + column[None, :], inside, 0).to(real)
    value = tl.load(z + place, inside, 0).to(real) + shift
    if gelu:
        value *= normal(value)
    if residual is not None:
        value += tl.load(residual + place, inside, 0).to(real)
    tl.store(y + place, value.to(y.dtype.element_ty), inside)


@kernel
@no_type_check
def _add_of_segments_backward(
    dy, z, bias, ends, dz, dbias, columns, parts, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr
):
    segment, part = tl.program_id(0) // parts, tl.program_id(0) % parts
    column = tl.program_id(1) * width + tl.arange(0, width)
    first = tl.load(ends + segment - 1, segment > 0, 0).to(tl.int32)
    end = tl.load(ends + segment).to(tl.int32)
    shift = tl.load(bias + segment * columns + column, column < columns, 0).to(real)[None, :]
    sums = tl.zeros([width], real)
    for start in range(first + part * tile, end, parts * tile):
        row = start + tl.arange(0, tile)
        inside = (row < end)[:, None] & (column < columns)[None, :]
        place = row.to(tl.int64)[:, None] * columns + column[None, :]
        value = tl.load(dy + place, inside, 0).to(real)
        if z is not None:
            x = tl.load(z + place, inside, 0).to(real) + shift
            value *= normal(x) + x * tl.exp(x * x * -0.5) * 0.3989422804014327
            tl.store(dz + place, value.to(dz.dtype.element_ty), inside)
        sums += tl.sum(value, 0)
    tl.store(dbias + tl.program_id(0) * columns + column, sums, column < columns)


def add(
    z: Float[Tensor, "rows columns"],
    bias: Float[Tensor, "segments columns"],
    ends: Int[Tensor, " segments"],
    residual: Float[Tensor, "rows columns"] | None = None,
    has_gelu: bool = False,
) -> Float[Tensor, "rows columns"]:
    """Return residual + z + bias, or GELU(z + bias); without GELU, z is overwritten. See `kernels.segments.add`."""
    (rows, columns), y = z.shape, torch.empty_like(z) if has_gelu else z
    grid = triton.cdiv(rows, _TILE), triton.cdiv(columns, _WIDTH)
    _add_of_segments[grid](
        z, bias, ends, residual, y, rows, columns, len(bias), has_gelu, sum_dtype(z), _TILE, _WIDTH
    )  # fmt: skip
    return y


def add_backward(
    dy: Float[Tensor, "rows columns"],
    z: Float[Tensor, "rows columns"] | None,
    bias: Float[Tensor, "segments columns"],
    ends: Int[Tensor, " segments"],
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "segments columns"]]:
    """Return the derivatives of z and of the bias; with GELU, dy is overwritten. See `kernels.segments.add_backward`.

    The order of additions depends only on the ends and on the numbers of rows and segments.
    """
    rows, columns = dy.shape
    parts = -(-parts_of(rows, _TILE) // len(bias))
    sums = sums_like(dy, len(bias), parts, columns)
    grid = len(bias) * parts, triton.cdiv(columns, _WIDTH)
    dz = None if z is None else dy
    _add_of_segments_backward[grid](dy, z, bias, ends, dz, sums, columns, parts, sum_dtype(dy), _TILE, _WIDTH)
    return dy, sums.sum(1)
