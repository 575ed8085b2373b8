"""residual + dropout(z + bias) and its derivative."""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from mbert_cli.encoder.dropout import row_numbers
from mbert_cli.encoder.kernels.triton.hashing import kept, scaled
from mbert_cli.encoder.kernels.triton.launching import dropping, kernel, parts_of, sum_dtype, sums_like, tile_of


@kernel
@no_type_check
def _add_drop(
    z, bias, residual, key, numbers, y, rows, columns,
    dropped, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.arange(0, width)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    place = row.to(tl.int64)[:, None] * columns + column[None, :]
    value = tl.load(z + place, inside, 0).to(real)
    if bias is not None:
        value += tl.load(bias + column, column < columns, 0).to(real)[None, :]
    if key is not None:
        value = scaled(value, kept(key, tl.load(numbers + row, row < rows, 0), column, dropped), dropped)
    if residual is not None:
        value += tl.load(residual + place, inside, 0).to(real)
    tl.store(y + place, value.to(y.dtype.element_ty), inside)


@kernel
@no_type_check
def _add_drop_backward(
    dy, key, numbers, dz, dbias, rows, columns, parts,
    dropped, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0)
    column = tl.arange(0, width)
    sums = tl.zeros([width], real)
    for first in range(part * tile, rows, parts * tile):
        row = first + tl.arange(0, tile)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        place = row.to(tl.int64)[:, None] * columns + column[None, :]
        value = tl.load(dy + place, inside, 0).to(real)
        if key is not None:
            value = scaled(value, kept(key, tl.load(numbers + row, row < rows, 0), column, dropped), dropped)
        tl.store(dz + place, value.to(dz.dtype.element_ty), inside)
        sums += tl.sum(value, 0)
    if dbias is not None:
        tl.store(dbias + part * columns + column, sums, column < columns)


class AddDropout(torch.autograd.Function):
    """residual + dropout(z + bias). Arguments: z, bias or None, residual or None, p."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor | None, residual: Tensor | None, p: float) -> Tensor:
        """Compute the values."""
        ctx.dropping, ctx.bias = dropping(p, lambda: row_numbers(z), z.device), bias
        rows, columns = z.shape
        y, (tile, width), (key, numbers, dropped) = torch.empty_like(z), tile_of(columns), ctx.dropping
        _add_drop[(triton.cdiv(rows, tile),)](
            z, bias, residual, key, numbers, y, rows, columns, dropped, sum_dtype(z), tile, width
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the derivatives."""
        dy = gradients[0].contiguous()
        needs = ctx.needs_input_grad
        dresidual = dy if needs[2] else None
        key, numbers, dropped = ctx.dropping
        if not ctx.dropping.dropped and not needs[1]:
            return dy, None, dresidual, None
        (rows, columns), dz = dy.shape, torch.empty_like(dy)
        tile, width = tile_of(columns)
        parts = parts_of(rows, tile)
        dbias = sums_like(dy, parts, columns) if needs[1] else None
        _add_drop_backward[(parts,)](
            dy, key, numbers, dz, dbias, rows, columns, parts, dropped, sum_dtype(dy), tile, width
        )
        return dz, None if dbias is None else dbias.sum(0).to(ctx.bias.dtype), dresidual, None
