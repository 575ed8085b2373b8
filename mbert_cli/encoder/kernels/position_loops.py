"""What positions add to attention, for one head of one sentence: values by distance, and rotations."""

from typing import no_type_check

from numba import types

from mbert_cli.encoder.kernels.compiling import inlined
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, store

_AT_ONCE = 512  # longest sentence whose scores are computed at once
BLOCK = 64  # rows of scores of a longer one


@inlined
@no_type_check
def up_to(number, multiple):
    """Round up to a multiple."""
    return (number + multiple - 1) // multiple * multiple


@inlined
@no_type_check
def block_rows(length, window):
    """Return how many rows of scores are computed at once: fewer than all if there are many or most are ignored."""
    return length if length <= _AT_ONCE and (not window or length <= 2 * window) else BLOCK


@inlined
@no_type_check
def most_scores(longest, window):
    """Return the number of scores of the largest block of sentences of at most `longest` tokens."""
    at_once = min(longest, min(_AT_ONCE, 2 * window) if window else _AT_ONCE)
    widest = min(longest, BLOCK + 2 * window + 2 * WIDTH) if window else longest
    return max(up_to(at_once, WIDTH) ** 2, BLOCK * up_to(widest, WIDTH))


@inlined
@no_type_check
def first_key(row, window):
    """Return the first key of a block of queries that starts at a row, a multiple of two vectors."""
    return max(0, row - window) // (2 * WIDTH) * (2 * WIDTH) if window else 0


@inlined
@no_type_check
def last_key(row, rows, length, window):
    """Return the end of the keys of a block of queries."""
    return min(length, row + rows + window) if window else length


@inlined
@no_type_check
def add_distances(table, start, rows, width, scores):
    """Add to each score the value of the table for its distance, key minus query.

    Args:
        table: values by distance, for all heads.
        start: the place of the distance of the first score.
        rows: number of rows of the scores.
        width: number of columns of the scores, a multiple of sixteen.
        scores: [rows * width].
    """
    for row in range(rows):
        for column in range(0, width, WIDTH):
            at = row * width + column
            store(scores, at, load(scores, at) + load(table, start - row + column))


@inlined
@no_type_check
def sum_distances(slopes, start, rows, width, sums):
    """Add the derivatives of scores to those of the table: the adjoint of `add_distances`."""
    for row in range(rows):
        for column in range(0, width, WIDTH):
            near = start - row + column
            store(sums, near, load(sums, near) + load(slopes, row * width + column))


@inlined
@no_type_check
def rotate(rows, first, length, size, cos, sin, direction):
    """Rotate queries or keys, [length, size], in place by the angles of their positions, see `encoder.rotation`.

    Args:
        rows: [length * size].
        first: position of the first row.
        length: number of rows.
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
            at, angle = row * size + column, (first + row) * half + column
            near, far = load(rows, at), load(rows, at + half)
            along, across = load(cos, angle), load(sin, angle) * sign
            store(rows, at, near * along - far * across)
            store(rows, at + half, fma(far, along, near * across))
