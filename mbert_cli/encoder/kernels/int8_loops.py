"""The operations between two int8 products; each loop is one pass over the rows.

A product of int8 rows and int8 weights is a matrix z of int32. Its value is z[t, j] * row_scales[t] * column_scales[j].
The loops compute it, add the bias, apply an activation or a LayerNorm, and quantise the result for the next product: a
row r becomes round(r * 127 / max |r|) with the scale max |r| / 127. A row depends on no other row. If `row_scales` is
empty, z contains floats that need no scales.
"""

from typing import no_type_check

import numpy as np
from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.gate_loops import share_of
from mbert_cli.encoder.kernels.gelu_loops import normal_roughly
from mbert_cli.encoder.kernels.int8 import MOST as _MOST
from mbert_cli.encoder.kernels.int8_lanes import larger_magnitude, largest_magnitude, store_int8
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, store, total


@inlined
@no_type_check
def read_value(z, at, column, row_scale, column_scales, bias):
    """Return sixteen values of a row of z that starts at `at`, with scales and bias."""
    value = load(z, at + column)
    if len(column_scales):
        value = value * load(column_scales, column) * splat(row_scale)
    return value + load(bias, column) if len(bias) else value


@inlined
@no_type_check
def scale_of_row(row_scales, row):
    """Return the scale of a row of z; 1 if it needs none."""
    return row_scales[row] if len(row_scales) else types.float32(1)


@inlined
@no_type_check
def quantise_row(values, columns, peak, rows8, at):
    """Write a row in int8, given the largest absolute value of each lane; return its scale."""
    most = largest_magnitude(peak)
    factor = splat(types.float32(_MOST) / most if most != 0 else types.float32(0))
    for column in range(0, columns, WIDTH):
        store_int8(rows8, at + column, load(values, column) * factor)
    return most / types.float32(_MOST)


@inlined
@no_type_check
def gelu_row(z, at, row_scale, column_scales, bias, values, rows8, to):
    """Write GELU(z + bias) of one row in int8; return its scale.

    The row starts at z[at]. The result starts at rows8[to]. `values` is memory for a row.
    """
    columns, peak = len(column_scales), splat(types.float32(0))
    for column in range(0, columns, WIDTH):
        x = read_value(z, at, column, row_scale, column_scales, bias)
        value = x * normal_roughly(x)
        peak = larger_magnitude(peak, value)
        store(values, column, value)
    return quantise_row(values, columns, peak, rows8, to)


@inlined
@no_type_check
def gate_row(z, at, row_scale, column_scales, bias, kind, values, rows8, to):
    """Like `gelu_row`, but f(a) * b, where z + bias is [a; b]; see `gate_loops.add_gate` for the kind of f."""
    columns, peak = len(column_scales) // 2, splat(types.float32(0))
    for column in range(0, columns, WIDTH):
        a = read_value(z, at, column, row_scale, column_scales, bias)
        b = read_value(z, at, columns + column, row_scale, column_scales, bias)
        value = a * share_of(a, kind) * b
        peak = larger_magnitude(peak, value)
        store(values, column, value)
    return quantise_row(values, columns, peak, rows8, to)


@inlined
@no_type_check
def norm_row(z, start, row_scale, column_scales, bias, residual, gamma, beta, eps, row, values, sums, y, rows8, scales):
    """Write y = LN(residual + z + bias) of one row, and y in int8; see `norm_rows`.

    The row starts at z[start]. Its number in the other arrays is `row`. `values` is memory for a row.
    """
    hidden = len(gamma)
    at, along = row * hidden, splat(types.float32(0))
    for column in range(0, hidden, WIDTH):
        value = read_value(z, start, column, row_scale, column_scales, bias) + load(residual, at + column)
        if len(sums):
            store(sums, at + column, value)
        along = along + value
        store(values, column, value)
    mean = splat(types.float32(total(along) / hidden))
    squares = splat(types.float32(0))
    for column in range(0, hidden, WIDTH):
        centred = load(values, column) - mean
        squares = fma(centred, centred, squares)
        store(values, column, centred)
    factor = splat(types.float32(1.0 / np.sqrt(total(squares) / hidden + eps)))
    peak = splat(types.float32(0))
    for column in range(0, hidden, WIDTH):
        value = fma(load(values, column) * factor, load(gamma, column), load(beta, column))
        peak = larger_magnitude(peak, value)
        store(values, column, value)
        store(y, at + column, value)
    if len(scales):
        scales[row] = quantise_row(values, hidden, peak, rows8, at)


@compiled
@no_type_check
def quantise(x, columns, chunks, rows8, scales):
    """Write the rows of x in int8.

    Args:
        x: [rows * columns].
        columns: number of columns.
        chunks: number of parts that the rows are split into.
        rows8: [rows * columns], int8.
        scales: [rows].
    """
    rows = len(scales)
    for chunk in prange(chunks):
        values = np.empty(columns, np.float32)
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            peak = splat(types.float32(0))
            for column in range(0, columns, WIDTH):
                value = load(x, row * columns + column)
                peak = larger_magnitude(peak, value)
                store(values, column, value)
            scales[row] = quantise_row(values, columns, peak, rows8, row * columns)


@compiled
@no_type_check
def dequantise(z, row_scales, column_scales, bias, chunks, y):
    """Write y, the values of z plus the bias.

    Args:
        z: [rows * columns], int32.
        row_scales: [rows].
        column_scales: [columns].
        bias: [columns], or empty.
        chunks: number of parts that the rows are split into.
        y: [rows * columns].
    """
    rows, columns = len(row_scales), len(column_scales)
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = row * columns
            for column in range(0, columns, WIDTH):
                store(y, at + column, read_value(z, at, column, row_scales[row], column_scales, bias))


@compiled
@no_type_check
def gelu_rows(z, row_scales, column_scales, bias, chunks, rows8, scales):
    """Write GELU(z + bias) in int8, with an error of at most 1e-4 before the rounding.

    Args:
        z: [rows * columns], int32.
        row_scales: [rows].
        column_scales: [columns].
        bias: [columns], or empty.
        chunks: number of parts that the rows are split into.
        rows8: [rows * columns], int8.
        scales: [rows].
    """
    rows, columns = len(row_scales), len(column_scales)
    for chunk in prange(chunks):
        values = np.empty(columns, np.float32)
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = row * columns
            scales[row] = gelu_row(z, at, row_scales[row], column_scales, bias, values, rows8, at)


@compiled
@no_type_check
def gate_rows(z, row_scales, column_scales, bias, kind, chunks, rows8, scales):
    """Write f(a) * b in int8, for values of z plus the bias of two halves, [a; b].

    Args:
        z: [rows * 2 * columns], int32.
        row_scales: [rows].
        column_scales: [2 * columns].
        bias: [2 * columns], or empty.
        kind: see `gate_loops.add_gate`.
        chunks: number of parts that the rows are split into.
        rows8: [rows * columns], int8.
        scales: [rows].
    """
    rows, columns = len(row_scales), len(column_scales) // 2
    for chunk in prange(chunks):
        values = np.empty(columns, np.float32)
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = row * columns
            scales[row] = gate_row(z, 2 * at, row_scales[row], column_scales, bias, kind, values, rows8, at)


@compiled
@no_type_check
def norm_rows(z, row_scales, column_scales, bias, residual, gamma, beta, eps, chunks, sums, y, rows8, scales):
    """Write y = LN(residual + z + bias), and y in int8.

    Args:
        z: [rows * hidden], int32 with scales, or floats without.
        row_scales: [rows], or empty.
        column_scales: [hidden], or empty.
        bias: [hidden], or empty.
        residual: [rows * hidden].
        gamma, beta: [hidden].
        eps: added to the variance.
        chunks: number of parts that the rows are split into.
        sums: [rows * hidden], receives residual + z + bias; or empty.
        y: [rows * hidden].
        rows8: [rows * hidden], int8.
        scales: [rows]; with `rows8`, both may be empty.
    """
    hidden = len(gamma)
    rows = len(y) // hidden
    for chunk in prange(chunks):
        values = np.empty(hidden, np.float32)
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            row_scale = scale_of_row(row_scales, row)
            norm_row(
                z, row * hidden, row_scale, column_scales, bias, residual, gamma, beta, eps, row, values, sums, y,
                rows8, scales,
            )  # fmt: skip
