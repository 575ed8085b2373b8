"""Dropout with the masks of `encoder.dropout`, computed in the forward pass and again in the backward pass."""

from typing import no_type_check

from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.lanes import WIDTH, counters, keep, load, mix, splat, store

# `dropping` is (key, n, 65,536 / (65,536 - n), the number of each row); n of 65,536 values are dropped.
# One hash of 32 bits serves two values: its lower sixteen bits are for the first half of 32 columns.


@inlined
@no_type_check
def hashed(key, number):
    """Return splitmix64 of (key, number), a 64-bit hash."""
    z = key + (types.uint64(number) + types.uint64(1)) * types.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> types.uint64(30))) * types.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> types.uint64(27))) * types.uint64(0x94D049BB133111EB)
    return z ^ (z >> types.uint64(31))


@inlined
@no_type_check
def row_key(row, dropping):
    """Return the key of a row of a matrix."""
    return hashed(dropping[0], dropping[3][row]) if dropping[1] else types.uint64(0)


@inlined
@no_type_check
def random_bits(key, pair):
    """Return the random bits of 32 columns.

    Args:
        key: key of the row.
        pair: the first of the 32 columns, a multiple of 32.
    """
    return mix(counters(types.uint32(pair // 2)), types.uint32(key), types.uint32(key >> types.uint64(32)))


@inlined
@no_type_check
def drop(values, bits, half, dropping):
    """Drop some of sixteen values and scale the others; `half` (0 or 1) selects the half of the 32 columns."""
    if dropping[1] == 0:
        return values
    return keep(values * splat(dropping[2]), bits, types.uint32(half * 16), dropping[1])


@compiled
@no_type_check
def add_drop(z, bias, residual, dropping, chunks, rows, y):
    """Write y = residual + dropout(z + bias).

    Args:
        z: [rows * columns].
        bias: [columns], or empty.
        residual: [rows * columns], or empty.
        dropping: see above.
        chunks: number of parts that the rows are split into.
        rows: number of rows.
        y: [rows * columns]; may be z itself.
    """
    columns = len(z) // rows
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at, key = row * columns, row_key(row, dropping)
            for pair in range(0, columns, 2 * WIDTH):
                bits = random_bits(key, pair)
                for half in range(2):
                    column = pair + half * WIDTH
                    if column < columns:
                        value = load(z, at + column)
                        if len(bias):
                            value = value + load(bias, column)
                        value = drop(value, bits, half, dropping)
                        if len(residual):
                            value = value + load(residual, at + column)
                        store(y, at + column, value)


@compiled
@no_type_check
def add_drop_backward(dy, dropping, chunks, rows, dz, dbias):
    """Write the derivatives of `add_drop`.

    Args:
        dy: [rows * columns].
        dropping: see above.
        chunks: as in `add_drop`.
        rows: number of rows.
        dz: [rows * columns].
        dbias: [chunks, columns], or without rows; its sum over the chunks is the derivative.
    """
    columns = len(dy) // rows
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at, key = row * columns, row_key(row, dropping)
            for pair in range(0, columns, 2 * WIDTH):
                bits = random_bits(key, pair)
                for half in range(2):
                    column = pair + half * WIDTH
                    if column < columns:
                        value = drop(load(dy, at + column), bits, half, dropping)
                        store(dz, at + column, value)
                        if len(dbias):
                            store(dbias[chunk], column, load(dbias[chunk], column) + value)
