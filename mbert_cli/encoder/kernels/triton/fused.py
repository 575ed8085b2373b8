"""The functions of `plain`, each in one or two passes over the memory of a GPU, as PyTorch wrappers of Triton kernels.

The functions fall back to `plain` for inputs that the kernels do not support: other data types, gates, prefixes,
rotary or relative positions, windows, and activations other than GELU. Dropout masks are those of `encoder.dropout`.
The backward pass computes them again. All sums are in fp32 and in a fixed order, so a repeated run has the same result.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder.kernels import Pending, bottlenecks, plain, working_dtype
from mbert_cli.encoder.kernels.plain import mean
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.kernels.triton import segments
from mbert_cli.encoder.kernels.triton.add_dropout import AddDropout
from mbert_cli.encoder.kernels.triton.add_gelu import AddGelu
from mbert_cli.encoder.kernels.triton.add_norm import AddNorm
from mbert_cli.encoder.kernels.triton.attending import WIDEST, Attend
from mbert_cli.encoder.kernels.triton.embedding import Lookup
from mbert_cli.encoder.kernels.triton.launching import fits
from mbert_cli.encoder.positions import NOWHERE, Relative
from mbert_cli.encoder.prefix import Prefix

__all__ = [
    "activate",
    "add",
    "add_bottlenecks",
    "add_dropout",
    "add_norm",
    "add_then_norm",
    "attend",
    "embed",
    "linear",
    "mean",
]

_WITH_GROUPED_PRODUCTS = (9, 10)  # compute capability; on other GPUs, the CPU waits for the ends in `torch._grouped_mm`


def embed(
    tables: Sequence[nn.Embedding], ids: Sequence[Int[Tensor, " tokens"]], norm: nn.LayerNorm
) -> Float[Tensor, "tokens hidden"]:
    """See `plain.embed`."""
    if not fits(*(table.weight for table in tables)) or not len(ids[0]):
        return plain.embed(tables, ids, norm)
    first, *others = (cast(Tensor, Lookup.apply(table.weight, rows)) for table, rows in zip(tables, ids, strict=True))
    sums = sum(others, first)
    return _norm(sums, norm, owned=True)


def add_bottlenecks(x: Float[Tensor, "tokens hidden"], *arguments: Any) -> Float[Tensor, "tokens hidden"] | None:
    """See `bottlenecks.add_bottlenecks`; None on a GPU whose grouped products make the CPU wait."""
    if _is_gpu(x) and torch.cuda.get_device_capability(x.device)[0] not in _WITH_GROUPED_PRODUCTS:
        return None
    return bottlenecks.add_bottlenecks(segments, x, *arguments)


def _is_gpu(x: Tensor) -> bool:
    return x.is_cuda


def linear(x: Float[Tensor, "tokens in"] | Pending, layer: nn.Linear) -> Pending:
    """Return W x with a pending bias."""
    x = x.tensor() if isinstance(x, Pending) else x
    x = x.to(working_dtype(x))
    if not isinstance(layer, Linear) or not fits(x):
        return plain.linear(x, layer)
    return Pending(layer.product(x), layer.bias)


def add_dropout(pending: Pending) -> Float[Tensor, "tokens features"]:
    """See `plain.add_dropout`."""
    if pending.value.ndim != 2 or not fits(pending.value):
        return plain.add_dropout(pending)
    return cast(Tensor, AddDropout.apply(pending.value.contiguous(), pending.bias, None, pending.dropout_p))


def add(x: Float[Tensor, "tokens features"], pending: Pending) -> Float[Tensor, "tokens features"]:
    """See `plain.add`."""
    if pending.activation is not None or x.dtype != pending.value.dtype or not fits(x, pending.value):
        return plain.add(x, pending)
    arguments = pending.value.contiguous(), pending.bias, x.contiguous(), pending.dropout_p
    return cast(Tensor, AddDropout.apply(*arguments))


def activate(pending: Pending) -> Float[Tensor, "tokens features"]:
    """See `plain.activate`."""
    is_gelu = pending.activation is nn.functional.gelu and not pending.dropout_p
    if pending.bias is None or not is_gelu or not fits(pending.value):
        return plain.activate(pending)
    return cast(Tensor, AddGelu.apply(pending.value.contiguous(), pending.bias))


def add_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
    """See `plain.add_norm`."""
    dtype = working_dtype(residual)
    z, residual = pending.value.to(dtype).contiguous(), residual.to(dtype).contiguous()
    if not fits(z, residual) or pending.activation is not None:
        return plain.add_norm(pending, residual, norm)
    owned = pending.bias is not None
    arguments = z, pending.bias, residual, norm.weight, norm.bias, norm.eps, pending.dropout_p, dtype, owned
    y, beside = AddNorm.apply(*arguments, torch.is_grad_enabled())
    return y, beside


def add_then_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
    """See `plain.add_then_norm`."""
    total = add(residual, pending)
    if not fits(total):
        return norm(total).to(working_dtype(total)), total
    return _norm(total, norm, owned=False), total


def _norm(x: Tensor, norm: nn.LayerNorm, owned: bool) -> Tensor:
    """Return LN(x); if `owned`, x may be overwritten."""
    arguments = x, None, None, norm.weight, norm.bias, norm.eps, 0.0, working_dtype(x), owned
    y, _ = AddNorm.apply(*arguments, torch.is_grad_enabled())
    return cast(Tensor, y)


def attend(
    qkv: Pending,
    layout: Layout,
    num_heads: int,
    dropout_p: float,
    prefixes: Sequence[Sequence[Prefix]] = (),
    relative: Relative = NOWHERE,
) -> Float[Tensor, "tokens features"]:
    """See `plain.attend`."""
    x = qkv.value
    size = x.shape[-1] // (3 * num_heads)
    unsupported = any(prefixes) or relative != NOWHERE or qkv.dropout_p or qkv.activation is not None
    if unsupported or size > WIDEST or not fits(x):
        return plain.attend(qkv, layout, num_heads, dropout_p, prefixes, relative)
    return cast(Tensor, Attend.apply(x.contiguous(), qkv.bias, layout, num_heads, dropout_p, torch.is_grad_enabled()))
