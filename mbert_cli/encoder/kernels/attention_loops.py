"""softmax(Q K^T / sqrt(d)) V and its derivative, one sentence and one head at a time.

The queries, keys and values of one sentence fit into the processor's cache. Sentences are not padded to the length of
other sentences, and attention weights are not stored: the backward pass computes them again.
"""

from typing import no_type_check

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.dropout_loops import drop, random_bits
from mbert_cli.encoder.kernels.lanes import (
    WIDTH,
    exp,
    fma,
    larger,
    largest,
    load,
    prefetch,
    splat,
    spread,
    store,
    total,
    transpose,
)
from mbert_cli.encoder.kernels.position_loops import add_distances, rotate, sum_distances

_ROWS = 4  # rows of a product that are computed together
_MANY_REGISTERS = bool(get_host_cpu_features().get("avx512f"))  # 32 vectors of 16 numbers; otherwise at most 8


@inlined
@no_type_check
def up_to(number, multiple):
    """Round up to a multiple."""
    return (number + multiple - 1) // multiple * multiple


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
def read(source, first, rows, stride, offset, size, bias, scale, out):
    """Copy (source + bias) * scale to [rows, size], for the columns of one head and the rows of one sentence."""
    factor = splat(types.float32(scale))
    for row in range(rows):
        for column in range(0, size, WIDTH):
            place = (first + row) * stride + offset + column
            value = load(source, place)
            prefetch(source, place + size)
            if len(bias):
                value = value + load(bias, offset + column)
            store(out, row * size + column, value * factor)


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
def turn(values, rows, size, width, out):
    """Write the transpose of [rows, size] to [size, width]; `values` has memory for `width` rows."""
    for row in range(0, rows, WIDTH):
        for column in range(0, size, WIDTH):
            transpose(values, row * size + column, size, out, column * width + row, width)


@inlined
@no_type_check
def softmax_rows(scores, rows, length, width):
    """Replace [rows, width] by the softmax over the first `length` columns; the other columns become 0."""
    beyond = np.zeros(WIDTH, np.float32)
    for lane in range(WIDTH):
        if width - WIDTH + lane >= length:
            beyond[lane] = -1e30
    for row in range(rows):
        at = row * width
        last = at + width - WIDTH
        store(scores, last, load(scores, last) + load(beyond, 0))
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
def slopes_of_scores(slopes, weights, rows, width):
    """Replace the derivatives dP of the softmax P, [rows, width], by those of the scores: P * (dP - rowsum(dP * P))."""
    for row in range(rows):
        at = row * width
        along = splat(types.float32(0))
        for column in range(0, width, WIDTH):
            along = fma(load(slopes, at + column), load(weights, at + column), along)
        mean = splat(total(along))
        for column in range(0, width, WIDTH):
            value = (load(slopes, at + column) - mean) * load(weights, at + column)
            store(slopes, at + column, value)


@inlined
@no_type_check
def thin(weights, rows, width, first, heads, head, longest, dropping, out):
    """Write dropout(weights), [rows, width]; in the mask, the weights of one token and head are one row."""
    for row in range(rows):
        place = (first + row) * heads + head
        for pair in range(0, width, 2 * WIDTH):
            bits = random_bits(place, pair, longest, dropping)
            for half in range(2):
                column = pair + half * WIDTH
                if column < width:
                    at = row * width + column
                    store(out, at, drop(load(weights, at), bits, half, dropping))


@inlined
@no_type_check
def tasks_of(worker, workers, sentences, heads):
    """Return the number of pairs (sentence, head) of a worker."""
    if sentences < workers:
        return (sentences * heads + workers - 1 - worker) // workers
    return (sentences + workers - 1 - worker) // workers * heads


@inlined
@no_type_check
def task_at(task, worker, workers, sentences, heads):
    """Return the sentence and the head of a worker's task.

    A worker processes all heads of a sentence, because they are adjacent in memory, unless there are few sentences.
    """
    if sentences < workers:
        return (worker + task * workers) // heads, (worker + task * workers) % heads
    return worker + task // heads * workers, task % heads


@compiled
@no_type_check
def attention(qkv, bias, table, cos, sin, starts, lengths, order, heads, dropping, workers, out):
    """Write dropout(softmax(Q K^T / sqrt(d) + B)) V.

    Args:
        qkv: [tokens * 3 * features]: concatenated queries, keys and values.
        bias: [3 * features], added to qkv; or empty.
        table: the values of B, see `add_distances`; or empty.
        cos, sin: see `rotate`.
        starts: the index of each sentence's first token.
        lengths: number of tokens of each sentence.
        order: the indices of the sentences, longest first.
        heads: number of heads; features / heads must be a multiple of sixteen.
        dropping: see `dropout_loops`.
        workers: number of parts that the work is split into.
        out: [tokens * features].
    """
    features = len(out) // (lengths.sum())
    size, longest = features // heads, lengths[order[0]]
    rows = widest = up_to(longest, WIDTH)
    for worker in prange(workers):
        q, k = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        v, mixed = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        turned, weights = np.zeros(size * widest, np.float32), np.zeros(rows * widest, np.float32)
        nothing = np.zeros(0, np.float32)
        for task in range(tasks_of(worker, workers, len(order), heads)):
            sentence, head = task_at(task, worker, workers, len(order), heads)
            first, length = starts[order[sentence]], lengths[order[sentence]]
            width, offset = up_to(length, WIDTH), head * size
            read(qkv, first, length, 3 * features, offset, size, bias, 1.0 / np.sqrt(size), q)
            read(qkv, first, length, 3 * features, features + offset, size, bias, 1.0, k)
            read(qkv, first, length, 3 * features, 2 * features + offset, size, bias, 1.0, v)
            rotate(q, length, size, cos, sin, 1)
            rotate(k, length, size, cos, sin, 1)
            turn(k, length, size, width, turned)
            multiply(q, size, 1, size, turned, width, length, width, weights)
            if len(table):
                add_distances(table, len(table) // heads, head, longest, length, width, weights)
            softmax_rows(weights, length, length, width)
            if dropping[2]:
                thin(weights, length, width, first, heads, head, longest, dropping, weights)
            multiply(weights, width, 1, length, v, size, length, size, mixed)
            write(length, size, mixed, 1.0, first, features, offset, out, nothing)


@compiled
@no_type_check
def attention_backward(
    dout, qkv, bias, table, cos, sin, starts, lengths, order, heads, dropping, workers, dqkv, dbias, dtable
):
    """Write the derivatives of `attention`.

    With P the weights, D their dropout and dP = D'(dO V^T): dV = D(P)^T dO, dS = P * (dP - rowsum(dP * P)),
    dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d).

    Args:
        dout: [tokens * features].
        qkv, bias, table, cos, sin, starts, lengths, order, heads, dropping, workers: as in `attention`.
        dqkv: [tokens * 3 * features].
        dbias: [workers, 3 * features], or without rows; its sum over the workers is the derivative.
        dtable: [workers, len(table)], or without rows; the same.
    """
    features = len(dout) // (lengths.sum())
    size, longest = features // heads, lengths[order[0]]
    rows = widest = up_to(longest, WIDTH)
    for worker in prange(workers):
        q, k = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        v, nothing = np.zeros(rows * size, np.float32), np.zeros(0, np.float32)
        into, found = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        turned, weights = np.zeros(size * widest, np.float32), np.zeros(rows * widest, np.float32)
        thinned, slopes = np.zeros(rows * widest, np.float32), np.zeros(rows * widest, np.float32)
        sums = dbias[worker] if len(dbias) else nothing
        scale = 1.0 / np.sqrt(size)
        for task in range(tasks_of(worker, workers, len(order), heads)):
            sentence, head = task_at(task, worker, workers, len(order), heads)
            first, length = starts[order[sentence]], lengths[order[sentence]]
            width, offset = up_to(length, WIDTH), head * size
            read(qkv, first, length, 3 * features, offset, size, bias, scale, q)
            read(qkv, first, length, 3 * features, features + offset, size, bias, 1.0, k)
            read(qkv, first, length, 3 * features, 2 * features + offset, size, bias, 1.0, v)
            rotate(q, length, size, cos, sin, 1)
            rotate(k, length, size, cos, sin, 1)
            read(dout, first, length, features, offset, size, nothing, 1.0, into)
            turn(k, length, size, width, turned)
            multiply(q, size, 1, size, turned, width, length, width, weights)
            if len(table):
                add_distances(table, len(table) // heads, head, longest, length, width, weights)
            softmax_rows(weights, length, length, width)
            thin(weights, length, width, first, heads, head, longest, dropping, thinned)
            multiply(thinned, 1, width, length, into, size, length, size, found)
            write(length, size, found, 1.0, first, 3 * features, 2 * features + offset, dqkv, sums)
            turn(v, length, size, width, turned)
            multiply(into, size, 1, size, turned, width, length, width, slopes)
            thin(slopes, length, width, first, heads, head, longest, dropping, slopes)
            slopes_of_scores(slopes, weights, length, width)
            if len(dtable):
                sum_distances(slopes, len(table) // heads, head, longest, length, width, dtable[worker])
            multiply(slopes, width, 1, length, k, size, length, size, found)
            rotate(found, length, size, cos, sin, -1)
            write(length, size, found, scale, first, 3 * features, offset, dqkv, sums)
            multiply(slopes, 1, width, length, q, size, length, size, found)
            rotate(found, length, size, cos, sin, -1)
            write(length, size, found, 1.0, first, 3 * features, features + offset, dqkv, sums)
