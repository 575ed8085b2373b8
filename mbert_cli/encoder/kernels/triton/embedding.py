"""Lookup in an embedding table. The gradient of a row is the sum over its tokens, added in their order."""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mbert_cli.encoder.kernels.triton.launching import kernel, sum_dtype

_TILE, _WIDTH = 32, 128
_FEW = 16  # for a table of at most so many rows, the gradient is a matrix product: each row has many tokens


@kernel
@no_type_check
def _add_rows(dy, order, sorted_ids, ends, out, columns, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr):
    place = tl.program_id(0)
    column = tl.program_id(1) * width + tl.arange(0, width)
    row = tl.load(sorted_ids + place)
    before = tl.load(sorted_ids + place - 1, place > 0, -1)
    if row != before:  # the first token of its row adds up all of them
        sums = tl.zeros([width], real)
        for first in range(place, tl.load(ends + place).to(tl.int32), tile):
            at = first + tl.arange(0, tile)
            inside = at < tl.load(ends + place)
            token = tl.load(order + at, inside, 0)
            value = dy + token[:, None] * columns + column[None, :]
            sums += tl.sum(tl.load(value, inside[:, None] & (column < columns)[None, :], 0).to(real), 0)
        tl.store(out + row * columns + column, sums.to(out.dtype.element_ty), column < columns)


class Lookup(torch.autograd.Function):
    """The rows of a table. Arguments: table, ids. The CPU never waits for the GPU, as no size depends on the ids."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> Tensor:
        """Return the rows."""
        ctx.rows = len(table)
        ctx.save_for_backward(ids)
        return nn.functional.embedding(ids, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        """Return the gradient of the table, which is dense."""
        (ids,), dy = ctx.saved_tensors, gradients[0].contiguous()
        if ctx.rows <= _FEW:
            is_row = ids == torch.arange(ctx.rows, device=ids.device)[:, None]
            return is_row.to(dy.dtype) @ dy, None
        out, columns = dy.new_zeros(ctx.rows, dy.shape[1]), dy.shape[1]
        sorted_ids, order = ids.sort(stable=True)
        ends = torch.searchsorted(sorted_ids, sorted_ids, right=True)
        grid = len(ids), triton.cdiv(columns, _WIDTH)
        _add_rows[grid](dy, order, sorted_ids, ends, out, columns, sum_dtype(dy), _TILE, _WIDTH)
        return out, None
