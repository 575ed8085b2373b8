"""Products of small matrices, and transposes."""

from typing import no_type_check

from llvmlite.binding import get_host_cpu_features
from numba import types

from mbert_cli.encoder.kernels.compiling import inlined
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, spread, store, transpose

_ROWS = 4  # rows of a product that are computed together
_MANY_REGISTERS = bool(get_host_cpu_features().get("avx512f"))  # 32 vectors of 16 numbers; otherwise at most 8


@inlined
@no_type_check
def multiply(a, a_row, a_step, steps, b, b_row, rows, columns, out):
    """Write out = A B with A[i, k] = a[i * a_row + k * a_step] and B[k, j] = b[k * b_row + j]; rows have `columns`.

    The number of rows is rounded up to a multiple of four, the number of columns to a multiple of sixteen.
    """
    both = columns // (2 * WIDTH) * (2 * WIDTH) if _MANY_REGISTERS else 0
    for row in range(0, rows, _ROWS):
        for column in range(0, both, 2 * WIDTH):
            # Eight independent sums keep the arithmetic units of a core busy.
            sum_0 = sum_1 = sum_2 = sum_3 = splat(types.float32(0))
            sum_4 = sum_5 = sum_6 = sum_7 = splat(types.float32(0))
            at = row * a_row
            for step in range(steps):
                near = load(b, step * b_row + column)
                far = load(b, step * b_row + column + WIDTH)
                left = spread(a, at)
                sum_0, sum_4 = fma(left, near, sum_0), fma(left, far, sum_4)
                left = spread(a, at + a_row)
                sum_1, sum_5 = fma(left, near, sum_1), fma(left, far, sum_5)
                left = spread(a, at + 2 * a_row)
                sum_2, sum_6 = fma(left, near, sum_2), fma(left, far, sum_6)
                left = spread(a, at + 3 * a_row)
                sum_3, sum_7 = fma(left, near, sum_3), fma(left, far, sum_7)
                at += a_step
            place = row * columns + column
            store(out, place, sum_0)
            store(out, place + columns, sum_1)
            store(out, place + 2 * columns, sum_2)
            store(out, place + 3 * columns, sum_3)
            place += WIDTH
            store(out, place, sum_4)
            store(out, place + columns, sum_5)
            store(out, place + 2 * columns, sum_6)
            store(out, place + 3 * columns, sum_7)
        for column in range(both, columns, WIDTH):
            sum_0 = sum_1 = sum_2 = sum_3 = splat(types.float32(0))
            at = row * a_row
            for step in range(steps):
                right = load(b, step * b_row + column)
                sum_0 = fma(spread(a, at), right, sum_0)
                sum_1 = fma(spread(a, at + a_row), right, sum_1)
                sum_2 = fma(spread(a, at + 2 * a_row), right, sum_2)
                sum_3 = fma(spread(a, at + 3 * a_row), right, sum_3)
                at += a_step
            store(out, row * columns + column, sum_0)
            store(out, (row + 1) * columns + column, sum_1)
            store(out, (row + 2) * columns + column, sum_2)
            store(out, (row + 3) * columns + column, sum_3)


@inlined
@no_type_check
def turn(values, rows, size, width, out):
    """Write the transpose of [rows, size] to [size, width]; `values` has memory for `width` rows."""
    for row in range(0, rows, WIDTH):
        for column in range(0, size, WIDTH):
            transpose(values, row * size + column, size, out, column * width + row, width)
