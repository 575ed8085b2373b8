"""Attention for one head of one sentence, and its parts."""

from typing import no_type_check

import numpy as np
from numba import types

from mbert_cli.encoder.kernels.compiling import inlined
from mbert_cli.encoder.kernels.dropout_loops import drop, hashed, random_bits
from mbert_cli.encoder.kernels.lanes import (
    WIDTH,
    exp,
    first_numbers,
    larger,
    largest,
    load,
    prefetch,
    splat,
    store,
    total,
)
from mbert_cli.encoder.kernels.position_loops import add_distances, block_rows, first_key, last_key, rotate, up_to
from mbert_cli.encoder.kernels.product_loops import multiply, turn


@inlined
@no_type_check
def read(source, row_scales, column_scales, first, rows, stride, offset, size, bias, scale, out):
    """Copy (source + bias) * scale to [rows, size], for the columns of one head and the rows of one sentence.

    If the source is int32, it is first multiplied by the scales of its rows and columns; otherwise these are empty.
    """
    factor = splat(types.float32(scale))
    for row in range(rows):
        for column in range(0, size, WIDTH):
            place = (first + row) * stride + offset + column
            value = load(source, place)
            prefetch(source, place + size)
            if len(column_scales):
                value = value * (load(column_scales, offset + column) * splat(row_scales[first + row]))
            if len(bias):
                value = value + load(bias, offset + column)
            store(out, row * size + column, value * factor)


@inlined
@no_type_check
def read_qkv(qkv, row_scales, column_scales, first, length, stride, features, offset, size, bias, cos, sin, q, k, v):
    """Copy the queries / sqrt(size), the keys and the values of one head and one sentence; rotate queries and keys."""
    read(qkv, row_scales, column_scales, first, length, stride, offset, size, bias, 1.0 / np.sqrt(size), q)
    read(qkv, row_scales, column_scales, first, length, stride, features + offset, size, bias, 1.0, k)
    read(qkv, row_scales, column_scales, first, length, stride, 2 * features + offset, size, bias, 1.0, v)
    rotate(q, 0, length, size, cos, sin, 1)
    rotate(k, 0, length, size, cos, sin, 1)


@inlined
@no_type_check
def write(rows, size, values, scale, first, stride, offset, out, sums):
    """Copy values * scale, [rows, size], to one head's columns of a sentence's rows; add the rows to `sums`."""
    factor = splat(types.float32(scale))
    for row in range(rows):
        for column in range(0, size, WIDTH):
            value = load(values, row * size + column) * factor
            store(out, (first + row) * stride + offset + column, value)
            if len(sums):
                store(sums, offset + column, load(sums, offset + column) + value)


@inlined
@no_type_check
def softmax_rows(scores, rows, length, width):
    """Replace [rows, width] by the softmax over the first `length` columns; the other columns become 0."""
    for row in range(rows):
        at = row * width
        last = at + width - WIDTH
        store(scores, last, first_numbers(load(scores, last), length - (width - WIDTH)))
        top = load(scores, at)
        for column in range(WIDTH, width, WIDTH):
            top = larger(load(scores, at + column), top)
        top = splat(largest(top))
        sums = splat(types.float32(0))
        for column in range(0, width, WIDTH):
            value = exp(load(scores, at + column) - top)
            sums = sums + value
            store(scores, at + column, value)
        share = splat(types.float32(1) / total(sums))
        for column in range(0, width, WIDTH):
            store(scores, at + column, load(scores, at + column) * share)


@inlined
@no_type_check
def weigh(q, size, turned, width, table, start, count, keys, wide, weights):
    """Write softmax(Q K^T + B) for a block of queries and keys.

    Args:
        q: [count * size], already scaled.
        size: number of features of a head.
        turned: the transpose of the keys, in rows of `width`.
        width: see `turned`.
        table, start: see `add_distances`; the table may be empty.
        count: number of queries.
        keys: number of keys.
        wide: `keys` rounded up to a multiple of sixteen.
        weights: [count * wide].
    """
    multiply(q, size, 1, size, turned, width, count, wide, weights)
    if len(table):
        add_distances(table, start, count, wide, weights)
    softmax_rows(weights, count, keys, wide)


@inlined
@no_type_check
def thin(weights, rows, width, first, key, heads, head, dropping, out):
    """Write dropout(weights), [rows, width]; in the mask, the weights of one token and head are one row.

    `first` is the first token, `key` the position of the first key, a multiple of two vectors.
    """
    for row in range(rows):
        own = types.uint64(0)
        if dropping[1]:
            own = hashed(dropping[0], dropping[3][first + row] * heads + head)
        for pair in range(0, width, 2 * WIDTH):
            bits = random_bits(own, key + pair)
            for half in range(2):
                column = pair + half * WIDTH
                if column < width:
                    at = row * width + column
                    store(out, at, drop(load(weights, at), bits, half, dropping))


@inlined
@no_type_check
def attend_head(
    q, k, v, length, size, table, window, first, heads, head, dropping, turned, weights, mixed, nothing, features, out
):
    """Write dropout(softmax(Q K^T + B)) V of one head and one sentence.

    Args:
        q, k, v: [length * size]; q is already scaled.
        length: number of tokens of the sentence.
        size: number of features of the head.
        table: values of B; the value of distance d is at d + length - 1. May be empty.
        window: see `attention`.
        first: the sentence's first token.
        heads, head: the number of heads and the head.
        dropping: see `dropout_loops`.
        turned, weights, mixed: memory for the transposed keys, the weights and the result of a block.
        nothing: an empty array.
        features: number of features of all heads.
        out: [tokens * features].
    """
    width = up_to(length, WIDTH)
    turn(k, length, size, width, turned)
    for row in range(0, length, block_rows(length, window)):
        count = min(length - row, block_rows(length, window))
        key, end = first_key(row, window), last_key(row, count, length, window)
        wide = up_to(end - key, WIDTH)
        start = length - 1 + key - row
        weigh(q[row * size :], size, turned[key:], width, table, start, count, end - key, wide, weights)
        if dropping[1]:
            thin(weights, count, wide, first + row, key, heads, head, dropping, weights)
        multiply(weights, wide, 1, end - key, v[key * size :], size, count, size, mixed)
        write(count, size, mixed, 1.0, first + row, features, head * size, out, nothing)
