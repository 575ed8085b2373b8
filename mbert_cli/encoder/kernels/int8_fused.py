"""The operations between int8 products, in loops that Numba compiles; `fused` calls them. For prediction only."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from mbert_cli.encoder.kernels import Pending, plain, working_dtype
from mbert_cli.encoder.kernels.activations import gate_of, has_gelu
from mbert_cli.encoder.kernels.gate_loops import GELU, ROUGH_GELU
from mbert_cli.encoder.kernels.int8 import Int8Linear, Int8Norm, Rows, integer_product, keep_rows, kept_rows
from mbert_cli.encoder.kernels.int8_loops import dequantise, gate_rows, gelu_rows, norm_rows, quantise
from mbert_cli.encoder.kernels.lanes import WIDTH
from mbert_cli.encoder.kernels.memory import empty_rows
from mbert_cli.encoder.kernels.views import CHUNKS, fits, flat

_NO_INTEGERS = np.empty(0, np.int8)


@dataclass(frozen=True, kw_only=True)
class Product(Pending):
    """activation(value * row_scales * column_scales + bias), not computed yet.

    Args:
        value: the int32 result of an int8 product.
        row_scales: the scale of each row.
        column_scales: the scale of each column.
        dtype: the data type of the dequantised tensor.
    """

    value: Int32[Tensor, "tokens features"]
    row_scales: Float[Tensor, " tokens"]
    column_scales: Float[Tensor, " features"]
    dtype: torch.dtype

    def tensor(self) -> Float[Tensor, "tokens features"]:
        """Compute the tensor."""
        return self.dequantised().tensor()

    def dequantised(self) -> Pending:
        """Return the product as floats, with the bias added; activation and dropout are still pending."""
        y = empty_rows(self.value, dtype=self.dtype)
        dequantise(*self.arrays(), CHUNKS, flat(y))
        return Pending(y, None, self.activation, self.dropout_p)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the first four arguments of the loops: integers, scales of rows and columns, bias."""
        return flat(self.value), flat(self.row_scales), flat(self.column_scales), flat(self.bias)


def linear(x: Float[Tensor, "tokens in"] | Pending, layer: Int8Linear) -> Pending:
    """Return a product whose scales and bias are pending."""
    if layer.out_features % WIDTH:
        return plain.linear(x, layer)
    rows = _activated(x) if isinstance(x, Product) else None
    dtype = x.dtype if isinstance(x, Product) else torch.float32
    if rows is None:
        x = x.tensor() if isinstance(x, Pending) else x
        if not fits(x):
            return plain.linear(x, layer)
        rows, dtype = kept_rows(x) or _quantised(x.contiguous()), working_dtype(x)
    value = integer_product(rows, layer)
    return Product(value=value, bias=layer.bias, row_scales=rows.scales, column_scales=layer.scales, dtype=dtype)


def _activated(product: Product) -> Rows | None:
    """Return activation(product) in int8; None if the loops do not support the activation."""
    columns, kind = product.value.shape[1], gate_of(product)
    if kind is not None:
        rows = _empty(product.value, columns // 2)
        kind = ROUGH_GELU if kind == GELU else kind
        gate_rows(*product.arrays(), kind, CHUNKS, flat(rows.values), flat(rows.scales))
        return rows
    if not has_gelu(product):
        return None
    rows = _empty(product.value, columns)
    gelu_rows(*product.arrays(), CHUNKS, flat(rows.values), flat(rows.scales))
    return rows


def _quantised(x: Tensor) -> Rows:
    rows = _empty(x, x.shape[1])
    quantise(flat(x), x.shape[1], CHUNKS, flat(rows.values), flat(rows.scales))
    return rows


def _empty(like: Tensor, columns: int) -> Rows:
    return Rows(empty_rows(like, columns, torch.int8), torch.empty(len(like)))


def fits_norm(pending: Pending, residual: Tensor, norm: nn.LayerNorm) -> bool:
    """Return whether `add_norm` supports its arguments and is faster than the kernels for floats."""
    if not (isinstance(pending, Product) or isinstance(norm, Int8Norm)) or torch.is_grad_enabled():
        return False
    return fits(residual) and not pending.dropout_p and pending.activation is None


def add_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> Float[Tensor, "tokens hidden"]:
    """Return LN(residual + pending); if int8 products follow, the result is also quantised."""
    return _add_norm(pending, residual, norm, None)


def add_then_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
    """See `plain.add_then_norm`; if int8 products follow, the first result is also quantised."""
    sums = empty_rows(residual)
    return _add_norm(pending, residual, norm, sums), sums


def _add_norm(pending: Pending, residual: Tensor, norm: nn.LayerNorm, sums: Tensor | None) -> Tensor:
    dtype = working_dtype(residual)
    y = empty_rows(residual, dtype=dtype)
    rows = _empty(residual, residual.shape[1]) if isinstance(norm, Int8Norm) else None
    values = (_NO_INTEGERS, flat(None)) if rows is None else (flat(rows.values), flat(rows.scales))
    if isinstance(pending, Product):
        arrays = pending.arrays()
    else:
        arrays = (flat(pending.value.contiguous()), flat(None), flat(None), flat(pending.bias))
    beta = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
    vectors = flat(residual.contiguous()), flat(norm.weight), flat(beta)
    flat_sums = flat(residual.new_empty(0)) if sums is None else flat(sums)
    norm_rows(*arrays, *vectors, norm.eps, CHUNKS, flat_sums, flat(y), *values)
    return y if rows is None else keep_rows(y, rows)
