"""GELU(z + bias) = x Phi(x) with x = z + bias, and its derivative Phi(x) + x phi(x)."""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from mbert_cli.encoder.kernels.triton.launching import kernel, parts_of, sum_dtype, sums_like

_TILE, _WIDTH = 16, 128


@triton.jit
@no_type_check
def normal(x):
    """Return Phi(x), the normal distribution function."""
    return 0.5 * tl.erf(x * 0.7071067811865476) + 0.5


@kernel
@no_type_check
def _add_gelu(z, bias, y, rows, columns, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr):
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.program_id(1) * width + tl.arange(0, width)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    place = row.to(tl.int64)[:, None] * columns + column[None, :]
    x = tl.load(z + place, inside, 0).to(real) + tl.load(bias + column, column < columns, 0).to(real)[None, :]
    tl.store(y + place, (x * normal(x)).to(y.dtype.element_ty), inside)


@kernel
@no_type_check
def _add_gelu_backward(
    dy, z, bias, dz, dbias, rows, columns, parts, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr
):
    part = tl.program_id(0)
    column = tl.program_id(1) * width + tl.arange(0, width)
    shift = tl.load(bias + column, column < columns, 0).to(real)[None, :]
    sums = tl.zeros([width], real)
    for first in range(part * tile, rows, parts * tile):
        row = first + tl.arange(0, tile)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        place = row.to(tl.int64)[:, None] * columns + column[None, :]
        x = tl.load(z + place, inside, 0).to(real) + shift
        slope = normal(x) + x * tl.exp(x * x * -0.5) * 0.3989422804014327
        value = tl.load(dy + place, inside, 0).to(real) * slope
        tl.store(dz + place, value.to(dz.dtype.element_ty), inside)
        sums += tl.sum(value, 0)
    if dbias is not None:
        tl.store(dbias + part * columns + column, sums, column < columns)


class AddGelu(torch.autograd.Function):
    """GELU(z + bias). Arguments: z, bias."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor) -> Tensor:
        """Compute the values."""
        ctx.save_for_backward(z, bias)
        (rows, columns), y = z.shape, torch.empty_like(z)
        grid = triton.cdiv(rows, _TILE), triton.cdiv(columns, _WIDTH)
        _add_gelu[grid](z, bias, y, rows, columns, sum_dtype(z), _TILE, _WIDTH)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the derivatives."""
        z, bias = ctx.saved_tensors
        (rows, columns), dz = z.shape, torch.empty_like(z)
        parts = parts_of(rows, _TILE)
        dbias = sums_like(z, parts, columns) if ctx.needs_input_grad[1] else None
        grid = parts, triton.cdiv(columns, _WIDTH)
        _add_gelu_backward[grid](
            gradients[0].contiguous(), z, bias, dz, dbias, rows, columns, parts, sum_dtype(z), _TILE, _WIDTH
        )
        return dz, None if dbias is None else dbias.sum(0).to(bias.dtype)
