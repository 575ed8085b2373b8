"""LN(residual + dropout(z + bias)) and its derivative."""

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
def _add_norm(
    z, bias, residual, gamma, beta, key, numbers, states, scales, y, rows, columns, eps,
    dropped, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.arange(0, width)
    within = column < columns
    inside = (row < rows)[:, None] & within[None, :]
    place = row.to(tl.int64)[:, None] * columns + column[None, :]
    value = tl.load(z + place, inside, 0).to(real)
    if bias is not None:
        value += tl.load(bias + column, within, 0).to(real)[None, :]
    if key is not None:
        value = scaled(value, kept(key, tl.load(numbers + row, row < rows, 0), column, dropped), dropped)
    if residual is not None:
        value += tl.load(residual + place, inside, 0).to(real)
    mean = tl.sum(value, 1) / columns
    value = tl.where(within[None, :], value - mean[:, None], 0)
    factor = 1 / tl.sqrt(tl.sum(value * value, 1) / columns + eps)
    state = value * factor[:, None]
    if states is not None:
        tl.store(states + place, state.to(states.dtype.element_ty), inside)
        tl.store(scales + row, factor, row < rows)
    state *= tl.load(gamma + column, within, 0).to(real)[None, :]
    if beta is not None:
        state += tl.load(beta + column, within, 0).to(real)[None, :]
    tl.store(y + place, state.to(y.dtype.element_ty), inside)


@kernel
@no_type_check
def _add_norm_backward(
    dy, beside, states, scales, gamma, key, numbers, dz, dresidual, sums, rows, columns, parts,
    dropped, real: tl.constexpr, tile: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0)
    column = tl.arange(0, width)
    within = column < columns
    weight = tl.load(gamma + column, within, 0).to(real)[None, :]
    dgamma, dbeta, dbias = tl.zeros([width], real), tl.zeros([width], real), tl.zeros([width], real)
    for first in range(part * tile, rows, parts * tile):
        row = first + tl.arange(0, tile)
        inside = (row < rows)[:, None] & within[None, :]
        place = row.to(tl.int64)[:, None] * columns + column[None, :]
        into = tl.load(dy + place, inside, 0).to(real)
        if beside is not None:
            into += tl.load(beside + place, inside, 0).to(real)
        state = tl.load(states + place, inside, 0).to(real)
        dgamma += tl.sum(into * state, 0)
        dbeta += tl.sum(into, 0)
        into *= weight
        mean, along = tl.sum(into, 1) / columns, tl.sum(into * state, 1) / columns
        factor = tl.load(scales + row, row < rows, 0)
        value = (into - mean[:, None] - state * along[:, None]) * factor[:, None]
        tl.store(dresidual + place, value.to(dresidual.dtype.element_ty), inside)
        if key is not None:
            value = scaled(value, kept(key, tl.load(numbers + row, row < rows, 0), column, dropped), dropped)
            tl.store(dz + place, value.to(dz.dtype.element_ty), inside)
        dbias += tl.sum(value, 0)
    if sums is not None:
        sums += part * 3 * columns + column
        tl.store(sums, dgamma, within)
        tl.store(sums + columns, dbeta, within)
        tl.store(sums + 2 * columns, dbias, within)


class AddNorm(torch.autograd.Function):
    """LN(residual + dropout(z + bias)), returned twice; the backward pass adds the gradients of both results.

    Arguments: z, bias, residual, gamma, beta, eps, p, dtype, owned, graph. Bias, residual and beta may be None. The
    result has the type `dtype`. If `owned`, the normalised rows, which the backward pass needs, overwrite z. `graph` is
    whether autograd records operations.
    """

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        gamma: Tensor,
        beta: Tensor | None,
        eps: float,
        p: float,
        dtype: torch.dtype,
        owned: bool,
        graph: bool,
    ) -> tuple[Tensor, Tensor]:
        """Compute the values."""
        ctx.set_materialize_grads(False)
        ctx.dropping = dropping(p, lambda: row_numbers(z), z.device)
        (rows, columns), y = z.shape, torch.empty_like(z, dtype=dtype)
        trains = graph and any(ctx.needs_input_grad)
        states = None if not trains else z if owned else torch.empty_like(z)
        scales = None if states is None else sums_like(z, rows)
        (tile, width), (key, numbers, dropped) = tile_of(columns), ctx.dropping
        _add_norm[(triton.cdiv(rows, tile),)](
            z, bias, residual, gamma, beta, key, numbers, states, scales, y, rows, columns, eps,
            dropped, sum_dtype(z), tile, width,
        )  # fmt: skip
        ctx.save_for_backward(states, scales, gamma)
        return y, y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the derivatives."""
        states, scales, gamma = ctx.saved_tensors
        needs = ctx.needs_input_grad
        dy, *others = [each.contiguous() for each in gradients if each is not None]
        (rows, columns), dresidual = states.shape, torch.empty_like(states)
        dz = torch.empty_like(states) if ctx.dropping.dropped else dresidual
        tile, width = tile_of(columns)
        parts = parts_of(rows, tile)
        sums = sums_like(states, parts, 3, columns) if needs[1] or needs[3] or needs[4] else None
        key, numbers, dropped = ctx.dropping
        _add_norm_backward[(parts,)](
            dy, others[0] if others else None, states, scales, gamma, key, numbers, dz, dresidual, sums,
            rows, columns, parts, dropped, sum_dtype(states), tile, width,
        )  # fmt: skip
        vectors = [None] * 3 if sums is None else list(sums.sum(0).to(gamma.dtype).unbind())
        dgamma, dbeta, dbias = (vector if needs[at] else None for vector, at in zip(vectors, (3, 4, 1), strict=True))
        return dz, dbias, dresidual if needs[2] else None, dgamma, dbeta, None, None, None, None, None
