"""GELU(z + bias) = x Phi(x) with x = z + bias, and its derivative Phi(x) + x phi(x)."""

from typing import no_type_check

from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.lanes import WIDTH, absolute, exp, fma, larger, load, smaller, splat, store, with_sign_of


@inlined
@no_type_check
def normal(x):
    """Return Phi(x), the normal distribution function, to 1e-7, and e^(-x^2 / 2).

    erf(|x| / sqrt 2) = 1 - t (a_1 + a_2 t + ... + a_5 t^4) e^(-x^2 / 2) with t = 1 / (1 + p |x| / sqrt 2).
    Source: Abramowitz & Stegun 1964, 7.1.26.
    """
    f = types.float32
    one, half = splat(f(1)), splat(f(0.5))
    density = exp(x * x * splat(f(-0.5)))
    t = one / fma(absolute(x), splat(f(0.3275911 * 0.7071067811865476)), one)
    p = fma(splat(f(1.061405429)), t, splat(f(-1.453152027)))
    p = fma(p, t, splat(f(1.421413741)))
    p = fma(p, t, splat(f(-0.284496736)))
    p = fma(p, t, splat(f(0.254829592))) * t
    erf = with_sign_of(one - p * density, x)
    return fma(half, erf, half), density


@inlined
@no_type_check
def normal_roughly(x):
    """Return an approximation of Phi(x) with an error of x Phi(x) of at most 1e-4.

    Phi(x) = 1/2 + x p(x^2) for |x| <= 4.25, where p has degree 7; beyond that Phi is 0 or 1. p minimises the maximum of
    |x| times the error; its coefficients come from linear programming.
    """
    f = types.float32
    inside = smaller(larger(x, splat(f(-4.25))), splat(f(4.25)))
    t = inside * inside
    p = fma(splat(f(-8.46114497e-10)), t, splat(f(7.57132521e-08)))
    p = fma(p, t, splat(f(-2.93893497e-06)))
    p = fma(p, t, splat(f(6.55289304e-05)))
    p = fma(p, t, splat(f(-0.000940461573)))
    p = fma(p, t, splat(f(0.00925788069)))
    p = fma(p, t, splat(f(-0.0654536171)))
    p = fma(p, t, splat(f(0.398420138)))
    return fma(inside, p, splat(f(0.5)))


@compiled
@no_type_check
def add_gelu(z, bias, chunks, y):
    """Write y = GELU(z + bias).

    Args:
        z: [rows * columns].
        bias: [columns].
        chunks: number of parts that the rows are split into.
        y: [rows * columns]; may be z itself.
    """
    columns = len(bias)
    rows = len(z) // columns
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = row * columns
            for column in range(0, columns, WIDTH):
                x = load(z, at + column) + load(bias, column)
                store(y, at + column, x * normal(x)[0])


@compiled
@no_type_check
def add_gelu_roughly(z, bias, chunks, y):
    """Write y = GELU(z + bias) with an error of at most 1e-4, in half the time of `add_gelu`; same arguments.

    For |y| > 0.05 the error is smaller than the rounding error of bf16.
    """
    columns = len(bias)
    rows = len(z) // columns
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = row * columns
            for column in range(0, columns, WIDTH):
                x = load(z, at + column) + load(bias, column)
                store(y, at + column, x * normal_roughly(x))


@compiled
@no_type_check
def add_gelu_backward(dy, z, bias, chunks, dz, dbias, y):
    """Write the derivatives of `add_gelu`.

    Args:
        dy, z: [rows * columns].
        bias: [columns].
        chunks: as in `add_gelu`.
        dz: [rows * columns]; may be dy itself.
        dbias: [chunks, columns], or without rows; its sum over the chunks is the derivative.
        y: [rows * columns], receives GELU(z + bias) again; or empty.
    """
    columns = len(bias)
    rows = len(z) // columns
    for chunk in prange(chunks):
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = row * columns
            for column in range(0, columns, WIDTH):
                x = load(z, at + column) + load(bias, column)
                below, density = normal(x)
                slope = fma(x * splat(types.float32(0.3989422804014327)), density, below)
                value = load(dy, at + column) * slope
                store(dz, at + column, value)
                if len(y):
                    store(y, at + column, x * below)
                if len(dbias):
                    store(dbias[chunk], column, load(dbias[chunk], column) + value)
