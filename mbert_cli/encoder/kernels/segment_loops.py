"""z + bias and GELU(z + bias), where each segment of the rows has its own bias; and their derivatives."""

from typing import no_type_check

from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled
from mbert_cli.encoder.kernels.gelu_loops import normal, normal_roughly
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, store

# Segment s has the rows from ends[s - 1] to ends[s] and row s of the biases. Other rows belong to no segment.


@compiled
@no_type_check
def add_of_segments(z, bias, ends, residual, has_gelu, parts, y):
    """Write y = residual + z + bias, or y = GELU(z + bias) with an error of at most 1e-4.

    Args:
        z: [rows * columns].
        bias: [segments * columns].
        ends: [segments].
        residual: [rows * columns], or empty.
        has_gelu: whether to apply GELU; then there is no residual.
        parts: number of parts that each segment is split into.
        y: [rows * columns]; may be z itself.
    """
    columns = len(bias) // len(ends)
    for item in prange(len(ends) * parts):
        segment, part = item // parts, item % parts
        first = ends[segment - 1] if segment else 0
        count = ends[segment] - first
        for row in range(first + part * count // parts, first + (part + 1) * count // parts):
            at = row * columns
            for column in range(0, columns, WIDTH):
                value = load(z, at + column) + load(bias, segment * columns + column)
                if has_gelu:
                    value = value * normal_roughly(value)
                if len(residual):
                    value = value + load(residual, at + column)
                store(y, at + column, value)


@compiled
@no_type_check
def add_of_segments_backward(dy, z, bias, ends, parts, dz, dbias):
    """Write the derivatives of `add_of_segments`.

    Args:
        dy: [rows * columns].
        z: [rows * columns] with GELU, otherwise empty: then dz = dy, which is not written.
        bias: [segments * columns].
        ends: [segments].
        parts: as in `add_of_segments`.
        dz: [rows * columns]; may be dy itself.
        dbias: [segments * parts, columns], zeros; its sum over the parts is the derivative.
    """
    columns = len(bias) // len(ends)
    for item in prange(len(ends) * parts):
        segment, part = item // parts, item % parts
        first = ends[segment - 1] if segment else 0
        count = ends[segment] - first
        for row in range(first + part * count // parts, first + (part + 1) * count // parts):
            at = row * columns
            for column in range(0, columns, WIDTH):
                value = load(dy, at + column)
                if len(z):
                    x = load(z, at + column) + load(bias, segment * columns + column)
                    below, density = normal(x)
                    slope = fma(x * splat(types.float32(0.3989422804014327)), density, below)
                    value = value * slope
                    store(dz, at + column, value)
                store(dbias[item], column, load(dbias[item], column) + value)
