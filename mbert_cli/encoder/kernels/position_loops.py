"""What positions add to attention, for one head of one sentence: values by distance, and rotations."""

from typing import no_type_check

from numba import types

from mbert_cli.encoder.kernels.compiling import inlined
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, store


@inlined
@no_type_check
def add_distances(table, stride, head, longest, length, width, scores):
    """Add to each score the value of the table for its distance, key minus query.

    Args:
        table: [heads * stride]; the value of the distance d is at d + longest - 1.
        stride: numbers of a head.
        head: the head of the scores.
        longest: number of tokens of the longest sentence.
        length: number of rows of the scores.
        width: number of columns of the scores, a multiple of sixteen.
        scores: [length * width].
    """
    for row in range(length):
        near = head * stride + longest - 1 - row
        for column in range(0, width, WIDTH):
            at = row * width + column
            store(scores, at, load(scores, at) + load(table, near + column))


@inlined
@no_type_check
def sum_distances(slopes, stride, head, longest, length, width, sums):
    """Add the derivatives of scores to those of the table: the adjoint of `add_distances`."""
    for row in range(length):
        near = head * stride + longest - 1 - row
        for column in range(0, width, WIDTH):
            store(sums, near + column, load(sums, near + column) + load(slopes, row * width + column))


@inlined
@no_type_check
def rotate(rows, length, size, cos, sin, direction):
    """Rotate queries or keys, [length, size], in place by the angles of their positions, see `encoder.rotation`.

    Args:
        rows: [length * size].
        length: number of positions.
        size: number of features of a head.
        cos, sin: [positions * size / 2], or empty: then nothing is rotated.
        direction: 1, or -1 to rotate back.
    """
    if not len(cos):
        return
    half = size // 2
    sign = splat(types.float32(direction))
    for row in range(length):
        for column in range(0, half, WIDTH):
            at, angle = row * size + column, row * half + column
            near, far = load(rows, at), load(rows, at + half)
            along, across = load(cos, angle), load(sin, angle) * sign
            store(rows, at, near * along - far * across)
            store(rows, at + half, fma(far, along, near * across))
