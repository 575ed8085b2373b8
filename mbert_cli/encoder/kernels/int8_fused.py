"""int8 products and the operations between them, in loops that Numba compiles; `fused` calls them. For prediction only.

If `int8_tile` supports the processor, a loop computes a product and the next operation, for one block of rows at a
time. Otherwise PyTorch computes whole products. Both give the same bytes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder.kernels import Pending, int8_tile, plain, working_dtype
from mbert_cli.encoder.kernels.activations import gate_of, has_gelu
from mbert_cli.encoder.kernels.attention_loops import attention
from mbert_cli.encoder.kernels.gate_loops import GELU, ROUGH_GELU
from mbert_cli.encoder.kernels.int8 import Int8Linear, Int8Norm, Rows, integer_product, keep_rows, kept_rows
from mbert_cli.encoder.kernels.int8_block_loops import UNGATED, multiply_attention, multiply_norm
from mbert_cli.encoder.kernels.int8_loops import dequantise, gate_rows, gelu_rows, norm_rows, quantise
from mbert_cli.encoder.kernels.lanes import WIDTH
from mbert_cli.encoder.kernels.memory import empty_rows
from mbert_cli.encoder.kernels.views import CHUNKS, angles_of, fits, flat, padded_table
from mbert_cli.encoder.rotation import Rotation

IN_BLOCKS = int8_tile.IS_SUPPORTED
_NO_INTEGERS, _NO_BYTES, _NOTHING = np.empty(0, np.int8), np.empty(0, np.uint8), np.empty(0, np.float32)


@dataclass(frozen=True, kw_only=True)
class Product(Pending):
    """activation(W x + b) in int8, not computed yet.

    Args:
        value: a tensor with the shape of the product and without data, on the meta device.
        source: x: quantised rows, or a product whose activation is pending.
        layer: the linear layer.
        dtype: the data type of the dequantised tensor.
    """

    source: "Rows | Product"
    layer: Int8Linear
    dtype: torch.dtype

    def tensor(self) -> Float[Tensor, "tokens features"]:
        """Compute the tensor."""
        return self.dequantised().tensor()

    def dequantised(self) -> Pending:
        """Compute the product as floats, with the bias added; activation and dropout are still pending."""
        y = empty_rows(self.layer.weight, self.layer.out_features, self.dtype, len(self.value))
        dequantise(*self.arrays(), CHUNKS, flat(y))
        return Pending(y, None, self.activation, self.dropout_p)

    def rows(self) -> Rows:
        """Return x in int8."""
        return self.source if isinstance(self.source, Rows) else _activated(self.source)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Compute the product; return the first arguments of the loops: integers, scales of rows and columns, bias."""
        rows, layer = self.rows(), self.layer
        return flat(integer_product(rows, layer)), flat(rows.scales), flat(layer.scales), flat(layer.bias)


def linear(x: Float[Tensor, "tokens in"] | Pending, layer: Int8Linear) -> Pending:
    """Return a pending product."""
    if layer.out_features % WIDTH:
        return plain.linear(x, layer)
    if isinstance(x, Product) and _kind(x) is not None:
        return _product(x, layer, x.dtype, len(x.value))
    x = x.tensor() if isinstance(x, Pending) else x
    if not fits(x):
        return plain.linear(x, layer)
    return _product(kept_rows(x) or _quantised(x.contiguous()), layer, working_dtype(x), len(x))


def _product(source: Rows | Product, layer: Int8Linear, dtype: torch.dtype, rows: int) -> Product:
    shape = torch.empty(rows, layer.out_features, device="meta")
    return Product(value=shape, bias=layer.bias, source=source, layer=layer, dtype=dtype)


def _kind(product: Product) -> int | None:
    """Return the kind of a product's activation; see `multiply_norm`. None if the loops do not support it."""
    kind = gate_of(product)
    if kind is None:
        return UNGATED if has_gelu(product) else None
    return ROUGH_GELU if kind == GELU else kind


def _activated(product: Product) -> Rows:
    """Return activation(product) in int8."""
    kind, columns = _kind(product), product.layer.out_features
    rows = _empty(len(product.value), columns if kind == UNGATED else columns // 2)
    if kind == UNGATED:
        gelu_rows(*product.arrays(), CHUNKS, flat(rows.values), flat(rows.scales))
    else:
        gate_rows(*product.arrays(), kind, CHUNKS, flat(rows.values), flat(rows.scales))
    return rows


def _quantised(x: Tensor) -> Rows:
    rows = _empty(len(x), x.shape[1])
    quantise(flat(x), x.shape[1], CHUNKS, flat(rows.values), flat(rows.scales))
    return rows


def _empty(rows: int, columns: int) -> Rows:
    scales = torch.empty(rows)
    return Rows(empty_rows(scales, columns, torch.int8, rows), scales)


def attend(
    product: Product,
    layout: Layout,
    num_heads: int,
    by_distance: Float[Tensor, "heads distances"] | None,
    rotation: Rotation | None,
    window: int,
) -> Float[Tensor, "tokens features"]:
    """Return attention; its queries, keys and values are the outputs of a product.

    Args:
        product: the product, without activation.
        layout: positions of the sentences.
        num_heads: number of heads.
        by_distance: B in `attention_loops.attention`; None for 0.
        rotation: the rotation of queries and keys.
        window: see `attention_loops.attention`.
    """
    table = None if by_distance is None else padded_table(by_distance)
    starts, lengths = layout.host_starts, layout.host_lengths
    places = flat(table), window, *angles_of(rotation), starts, lengths
    # In fp32, because the result is quantised next. So Numba compiles one data type instead of two.
    out = empty_rows(product.layer.weight, product.layer.out_features // 3, torch.float32, layout.num_tokens)
    no_dropout = np.uint64(0), np.uint32(0), np.float32(1), np.empty(0, np.int64)
    if IN_BLOCKS:
        shares = np.arange(CHUNKS + 1) * layout.num_tokens // CHUNKS
        parts = np.searchsorted(starts, shares)  # of about the same number of tokens
        factors = *_arrays_of(product.rows()), *_weights_of(product.layer)
        multiply_attention(*factors, *places, parts, num_heads, no_dropout, flat(out))
    else:
        order = np.argsort(-lengths, kind="stable")
        attention(*product.arrays(), *places, order, num_heads, no_dropout, CHUNKS, flat(out))
    return out


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
    y = empty_rows(residual, dtype=working_dtype(residual))
    rows = _empty(*residual.shape) if isinstance(norm, Int8Norm) else None
    values = (_NO_INTEGERS, flat(None)) if rows is None else (flat(rows.values), flat(rows.scales))
    beta = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
    vectors = flat(residual.contiguous()), flat(norm.weight), flat(beta)
    flat_sums = flat(residual.new_empty(0)) if sums is None else flat(sums)
    if isinstance(pending, Product) and IN_BLOCKS:
        multiply_norm(*_factors(pending), *vectors, norm.eps, flat_sums, flat(y), *values)
    else:
        floats = flat(None), flat(None), flat(pending.bias)
        arrays = pending.arrays() if isinstance(pending, Product) else (flat(pending.value.contiguous()), *floats)
        norm_rows(*arrays, *vectors, norm.eps, CHUNKS, flat_sums, flat(y), *values)
    return y if rows is None else keep_rows(y, rows)


def _factors(product: Product) -> tuple[np.ndarray | int, ...]:
    """Return the first arguments of `multiply_norm`."""
    source = product.source
    if isinstance(source, Rows):
        return *_arrays_of(source), _NO_BYTES, _NOTHING, _NOTHING, UNGATED, *_weights_of(product.layer)
    kind = _kind(source)
    assert kind is not None
    return *_arrays_of(source.rows()), *_weights_of(source.layer), kind, *_weights_of(product.layer)


def _arrays_of(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return flat(rows.values), flat(rows.scales)


def _weights_of(layer: Int8Linear) -> tuple[np.ndarray, ...]:
    return layer.packed, flat(layer.scales), flat(layer.bias)
