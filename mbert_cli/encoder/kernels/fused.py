"""The functions of `plain`, each in one pass over memory, as PyTorch wrappers of loops that Numba compiles.

The functions fall back to `plain` for inputs that the loops do not support: other devices and data types, sizes that
are not a multiple of sixteen, prefixes, and activations other than GELU. Dropout masks are those of `encoder.dropout`.
The backward pass computes them again.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mbert_cli.batch import Layout
from mbert_cli.encoder.dropout import draw_key, dropped_levels, row_numbers, scale_of
from mbert_cli.encoder.kernels import (
    Pending,
    activations,
    bottlenecks,
    int8_fused,
    plain,
    segments,
    working_dtype,
)
from mbert_cli.encoder.kernels.activations import gate_of, has_gelu
from mbert_cli.encoder.kernels.attention_loops import attention, attention_backward
from mbert_cli.encoder.kernels.bf16_products import mm
from mbert_cli.encoder.kernels.dropout_loops import add_drop, add_drop_backward
from mbert_cli.encoder.kernels.embedding import Embeddings, are_rows
from mbert_cli.encoder.kernels.int8 import Int8Linear
from mbert_cli.encoder.kernels.int8_fused import Product
from mbert_cli.encoder.kernels.lanes import WIDTH
from mbert_cli.encoder.kernels.mean_loops import mean_rows, mean_rows_backward
from mbert_cli.encoder.kernels.memory import empty_rows
from mbert_cli.encoder.kernels.norm_loops import add_norm as add_norm_rows
from mbert_cli.encoder.kernels.norm_loops import add_norm_backward
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.kernels.views import CHUNKS, angles_of, fits, flat, flat_like, padded_table, summed, sums
from mbert_cli.encoder.kernels.weight_gradient import weight_gradient
from mbert_cli.encoder.positions import NOWHERE, Relative
from mbert_cli.encoder.prefix import Prefix
from mbert_cli.encoder.rotation import Rotation

Dropping = tuple[np.uint64, np.uint32, np.float32, np.ndarray]
add_bottlenecks = partial(bottlenecks.add_bottlenecks, segments)
_NOTHING, _NO_ROWS = np.empty(0, np.float32), np.empty(0, np.int64)

with warnings.catch_warnings():
    # PyTorch 2.11 warns unless these checks are disabled explicitly, and is_enabled() itself warns too.
    warnings.simplefilter("ignore")
    if not torch.sparse.check_sparse_tensor_invariants.is_enabled():
        torch.sparse.check_sparse_tensor_invariants.disable()


def embed(
    tables: Sequence[nn.Embedding], ids: Sequence[Int[Tensor, " tokens"]], norm: nn.LayerNorm
) -> Float[Tensor, "tokens hidden"]:
    """See `plain.embed`; the gradient of the word embeddings is sparse, with the rows of the words that occur."""
    weights = [table.weight for table in tables]
    if len(tables) > 3 or not fits(*weights) or not are_rows(weights, ids):
        return plain.embed(tables, ids, norm)
    # The loop adds three tables: the third one may be a row of zeros.
    missing = 3 - len(tables)
    rows = [*ids, *[torch.from_numpy(np.zeros(len(ids[0]), np.int64))] * missing]
    zeros = torch.from_numpy(np.zeros((1, weights[0].shape[1]), np.float32))
    sums = cast(Tensor, Embeddings.apply(*rows, *weights, *[zeros] * missing))
    arguments = (sums, None, None, norm.weight, _beta(norm), norm.eps, 0.0, True, working_dtype(sums))
    y, _ = _AddNorm.apply(*arguments, torch.is_grad_enabled())
    return cast(Tensor, y)


def linear(x: Float[Tensor, "tokens in"] | Pending, layer: nn.Linear) -> Pending:
    """Return W x with a pending bias."""
    if isinstance(layer, Int8Linear):
        return int8_fused.linear(x, layer)
    if isinstance(x, Pending):
        kind = gate_of(x)
        if isinstance(layer, Linear) and _fits_both(x.value, layer) and torch.is_grad_enabled():
            if kind is not None:
                return Pending(activations.gated_product(x.value, x.bias, kind, layer), layer.bias)
            if x.bias is not None and has_gelu(x):
                return Pending(activations.gelu_product(x.value, x.bias, layer), layer.bias)
        x = x.tensor()
    x = x.to(working_dtype(x))
    if not isinstance(layer, Linear) or not _fits_both(x, layer):
        return plain.linear(x, layer)
    product = _Product.apply(x.contiguous(), layer.weight, layer.weight_in(x.dtype))
    return Pending(cast(Tensor, product), layer.bias)


def _fits_both(x: Tensor, layer: Linear) -> bool:
    """Return whether the loops support the input and the output of a linear layer."""
    return fits(x) and layer.out_features % WIDTH == 0


def add_dropout(pending: Pending) -> Float[Tensor, "tokens features"]:
    """See `plain.add_dropout`."""
    if pending.value.ndim != 2 or not fits(pending.value):
        return plain.add_dropout(pending)
    return cast(Tensor, _AddDropout.apply(pending.value.contiguous(), pending.bias, None, pending.dropout_p))


def add(x: Float[Tensor, "tokens features"], pending: Pending) -> Float[Tensor, "tokens features"]:
    """See `plain.add`."""
    if pending.activation is not None or x.dtype != pending.value.dtype or not fits(x, pending.value):
        return plain.add(x, pending)
    arguments = (pending.value.contiguous(), pending.bias, x.contiguous(), pending.dropout_p)
    return cast(Tensor, _AddDropout.apply(*arguments))


def activate(pending: Pending) -> Float[Tensor, "tokens features"]:
    """See `plain.activate`."""
    if isinstance(pending, Product):
        pending = pending.dequantised()
    kind = gate_of(pending)
    if kind is not None and fits(pending.value):
        return activations.gate(pending.value, pending.bias, kind)
    if pending.bias is None or not has_gelu(pending) or not fits(pending.value):
        return plain.activate(pending)
    return activations.gelu(pending.value, pending.bias)


def add_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
    """See `plain.add_norm`."""
    if int8_fused.fits_norm(pending, residual, norm):
        y = int8_fused.add_norm(pending, residual, norm)
        return y, y
    if isinstance(pending, Product):
        pending = pending.dequantised()
    dtype = working_dtype(residual)
    z, residual = pending.value.to(dtype).contiguous(), residual.to(dtype).contiguous()
    if not fits(z, residual) or pending.activation is not None:
        return plain.add_norm(pending, residual, norm)
    owned = pending.bias is not None
    arguments = (z, pending.bias, residual, norm.weight, _beta(norm), norm.eps, pending.dropout_p, owned, dtype)
    y, beside = _AddNorm.apply(*arguments, torch.is_grad_enabled())
    return y, beside


def add_then_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
    """See `plain.add_then_norm`."""
    if int8_fused.fits_norm(pending, residual, norm):
        return int8_fused.add_then_norm(pending, residual, norm)
    total = add(residual, pending)
    if not fits(total):
        return norm(total).to(working_dtype(total)), total
    arguments = (
        total,
        None,
        None,
        norm.weight,
        _beta(norm),
        norm.eps,
        0.0,
        False,
        total.dtype,
        torch.is_grad_enabled(),
    )
    y, _ = _AddNorm.apply(*arguments)
    return y, total


def _beta(norm: nn.LayerNorm) -> Tensor:
    return torch.zeros_like(norm.weight) if norm.bias is None else norm.bias


def attend(
    qkv: Pending,
    layout: Layout,
    num_heads: int,
    dropout_p: float,
    prefixes: Sequence[Sequence[Prefix]] = (),
    relative: Relative = NOWHERE,
) -> Float[Tensor, "tokens features"]:
    """See `plain.attend`."""
    x, product = qkv.value, qkv if isinstance(qkv, Product) and not dropout_p else None
    size = x.shape[-1] // (3 * num_heads)
    step = WIDTH if relative.rotation is None else 2 * WIDTH
    if any(prefixes) or size % step or qkv.dropout_p or relative.disentangled is not None or not (product or fits(x)):
        return plain.attend(qkv, layout, num_heads, dropout_p, prefixes, relative)
    bias = relative.limited_bias(layout.longest, layout.device)
    bias = None if bias is None else bias.expand(num_heads, -1)
    if product is not None:
        return int8_fused.attend(product, layout, num_heads, bias, relative.rotation, relative.window or 0)
    places = relative.rotation, relative.window or 0, layout
    return cast(Tensor, _Attention.apply(x.contiguous(), qkv.bias, bias, *places, num_heads, dropout_p))


def mean(x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
    """See `plain.mean`."""
    return cast(Tensor, _Mean.apply(x.contiguous(), layout)) if fits(x) else plain.mean(x, layout)


def _draw(p: float, rows: Callable[[], Tensor]) -> Dropping:
    """Return the `dropping` argument of the loops for the next site; `rows` returns the number of each row."""
    dropped = dropped_levels(p)
    if not dropped:
        return np.uint64(0), np.uint32(0), np.float32(1), _NO_ROWS
    return np.uint64(draw_key()), np.uint32(dropped), np.float32(scale_of(dropped)), rows().numpy()


class _AddDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor | None, residual: Tensor | None, p: float) -> Tensor:
        ctx.dropping = _draw(p, lambda: row_numbers(z))
        y = empty_rows(z)
        add_drop(flat(z), flat(bias), flat_like(residual, z), ctx.dropping, CHUNKS, len(z), flat(y))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dy = gradients[0].contiguous()
        dz, dbias = empty_rows(dy), sums(ctx.needs_input_grad[1], dy.shape[1])
        add_drop_backward(flat(dy), ctx.dropping, CHUNKS, len(dy), flat(dz), dbias)
        return dz, summed(dbias), dy if ctx.needs_input_grad[2] else None, None


class _Product(torch.autograd.Function):
    """x W^T, in the data type of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = weight.dtype
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, copy)
        return mm(x, copy.t(), out=empty_rows(x, len(copy)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, copy = ctx.saved_tensors
        dy = gradients[0].contiguous()
        dx = mm(dy, copy, out=empty_rows(dy, copy.shape[1])) if ctx.needs_input_grad[0] else None
        return dx, None if x is None else weight_gradient(dy, x, ctx.dtype), None


class _AddNorm(torch.autograd.Function):
    """LN(residual + dropout(z + bias)) twice, so that the backward pass adds up both gradients as it reads them."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        eps: float,
        p: float,
        owned: bool,
        dtype: torch.dtype,
        graph: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.dropping = _draw(p, lambda: row_numbers(z))
        trains = graph and any(ctx.needs_input_grad)
        ctx.scales = np.empty(len(z), np.float32)
        y = empty_rows(z, dtype=dtype) if trains or not owned or z.dtype != dtype else z
        states = None if not trains else z if owned else empty_rows(z)
        vectors = (flat(bias), flat(residual), flat(gamma), flat(beta))
        add_norm_rows(flat(z), *vectors, eps, ctx.dropping, CHUNKS, flat_like(states, z), ctx.scales, flat(y))
        ctx.save_for_backward(states, gamma)
        return y, y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        states, gamma = ctx.saved_tensors
        needs = ctx.needs_input_grad
        dy, *others = [each.contiguous() for each in gradients if each is not None]
        beside = others[0] if others else None
        dresidual = empty_rows(states)
        dz = empty_rows(states) if ctx.dropping[1] and needs[0] else None
        hidden = len(gamma)
        dgamma, dbeta, dbias = sums(needs[3], hidden), sums(needs[3], hidden), sums(needs[1], hidden)
        add_norm_backward(
            flat(dy), flat_like(beside, dy), flat(states), ctx.scales, flat(gamma), ctx.dropping, CHUNKS,
            flat_like(dz, states), flat(dresidual), dgamma, dbeta, dbias,
        )  # fmt: skip
        into = dresidual if dz is None else dz
        beside = dresidual if needs[2] else None
        return into, summed(dbias), beside, summed(dgamma), summed(dbeta), None, None, None, None, None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.dtype, ctx.hidden, ctx.tokens = x.dtype, x.shape[1], len(x)
        ctx.sentences = layout.host_starts, layout.host_lengths
        y = np.empty((layout.num_sentences, ctx.hidden), np.float32)
        mean_rows(flat(x), *ctx.sentences, ctx.hidden, CHUNKS, y.ravel())
        return torch.from_numpy(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        dy = gradients[0].contiguous()
        dx = empty_rows(dy, dtype=ctx.dtype, rows=ctx.tokens)
        mean_rows_backward(flat(dy), *ctx.sentences, ctx.hidden, CHUNKS, flat(dx))
        return dx, None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        bias: Tensor | None,
        by_distance: Tensor | None,
        rotation: Rotation | None,
        window: int,
        layout: Layout,
        num_heads: int,
        p: float,
    ) -> Tensor:
        table = None if by_distance is None else padded_table(by_distance)
        ctx.save_for_backward(qkv, bias, table)
        ctx.distances = 0 if by_distance is None else by_distance.shape[1]
        order, dropping = np.argsort(-layout.host_lengths, kind="stable"), _draw(p, lambda: layout.rows)
        ctx.places = (window, *angles_of(rotation), layout.host_starts, layout.host_lengths, order, num_heads, dropping)
        out = empty_rows(qkv, qkv.shape[1] // 3)
        attention(flat(qkv), _NOTHING, _NOTHING, flat(bias), flat(table), *ctx.places, CHUNKS, flat(out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias, table = ctx.saved_tensors
        dqkv, dbias = empty_rows(qkv), sums(ctx.needs_input_grad[1], qkv.shape[1])
        dtable = sums(ctx.needs_input_grad[2], 0 if table is None else table.numel())
        dout = flat(gradients[0].contiguous())
        attention_backward(dout, flat(qkv), flat(bias), flat(table), *ctx.places, CHUNKS, flat(dqkv), dbias, dtable)
        dtables = summed(dtable)
        by_distance = None if dtables is None else dtables.view(table.shape)[:, : ctx.distances]
        return dqkv, summed(dbias), by_distance, None, None, None, None, None, None
