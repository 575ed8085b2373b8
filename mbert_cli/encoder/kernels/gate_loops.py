"""f(a) * b for features [a; b] of two halves, and its derivatives; f is GELU or SiLU."""

from typing import no_type_check

from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.gelu_loops import normal, normal_roughly
from mbert_cli.encoder.kernels.lanes import WIDTH, exp, fma, load, splat, store

GELU, SILU, ROUGH_GELU = 0, 1, 2


@inlined
@no_type_check
def share_of(x, kind):
    """Return f(x) / x."""
    if kind == SILU:
        one = splat(types.float32(1))
        return one / (one + exp(splat(types.float32(0)) - x))
    return normal_roughly(x) if kind == ROUGH_GELU else normal(x)[0]


@inlined
@no_type_check
def slope_of(x, kind):
    """Return f(x) / x and the derivative of f."""
    if kind == SILU:
        share = share_of(x, SILU)
        return share, fma(x * share, splat(types.float32(1)) - share, share)
    share, density = normal(x)
    return share, fma(x * splat(types.float32(0.3989422804014327)), density, share)


@compiled
@no_type_check
def add_gate(z, bias, kind, columns, chunks, y):
    """Write y = f(a + its bias) * (b + its bias) for z = [a; b].

    Args:
        z: [rows * 2 * columns].
        bias: [2 * columns], or empty.
        kind: GELU, SILU, or ROUGH_GELU, whose error is at most 1e-4.
        columns: number of features of a half.
        chunks: number of parts that the rows are split into.
        y: [rows * columns].
    """
    rows = len(y) // columns
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = 2 * row * columns
            for column in range(0, columns, WIDTH):
                a, b = load(z, at + column), load(z, at + columns + column)
                if len(bias):
                    a, b = a + load(bias, column), b + load(bias, columns + column)
                store(y, row * columns + column, a * share_of(a, kind) * b)


@compiled
@no_type_check
def add_gate_backward(dy, z, bias, kind, columns, chunks, dz, dbias, y):
    """Write the derivatives of `add_gate`.

    Args:
        dy: [rows * columns].
        z, bias, kind, columns, chunks: as in `add_gate`; `kind` is GELU or SILU.
        dz: [rows * 2 * columns].
        dbias: [chunks, 2 * columns], or without rows; its sum over the chunks is the derivative.
        y: [rows * columns], receives the result of `add_gate` again; or empty.
    """
    rows = len(dy) // columns
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = 2 * row * columns
            for column in range(0, columns, WIDTH):
                a, b = load(z, at + column), load(z, at + columns + column)
                if len(bias):
                    a, b = a + load(bias, column), b + load(bias, columns + column)
                into = load(dy, row * columns + column)
                share, slope = slope_of(a, kind)
                active = a * share
                da, db = into * b * slope, into * active
                store(dz, at + column, da)
                store(dz, at + columns + column, db)
                if len(y):
                    store(y, row * columns + column, active * b)
                if len(dbias):
                    sums = dbias[chunk]
                    store(sums, column, load(sums, column) + da)
                    store(sums, columns + column, load(sums, columns + column) + db)
