"""softmax(Q K^T / sqrt(d)) V and its derivative, one sentence and one head at a time.

The queries, keys and values of one sentence fit into the processor's cache. Sentences are not padded to the length of
other sentences, and attention weights are not stored: the backward pass computes them again.
"""

from typing import no_type_check

import numpy as np
from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.head_loops import attend_head, read, read_qkv, thin, weigh, write
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, store, total
from mbert_cli.encoder.kernels.position_loops import (
    block_rows,
    first_key,
    last_key,
    most_scores,
    rotate,
    sum_distances,
    up_to,
)
from mbert_cli.encoder.kernels.product_loops import multiply, turn


@inlined
@no_type_check
def accumulate(values, count, out, start):
    """Add values to the numbers of `out` from a start on; `count` is a multiple of sixteen."""
    for at in range(0, count, WIDTH):
        store(out, start + at, load(out, start + at) + load(values, at))


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
def attention(
    qkv, row_scales, column_scales, bias, table, window, cos, sin, starts, lengths, order, heads, dropping, workers, out
):
    """Write dropout(softmax(Q K^T / sqrt(d) + B)) V.

    Args:
        qkv: [tokens * 3 * features]: concatenated queries, keys and values; floats, or int32 with scales.
        row_scales: [tokens], scales of int32; or empty.
        column_scales: [3 * features], scales of int32; or empty.
        bias: [3 * features], added to qkv; or empty.
        table: [heads * distances], values of B; that of distance d, key minus query, is at d + longest - 1; or empty.
        window: B is -1e30 for distances above it; 0 if there is no such limit.
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
    rows = up_to(longest, WIDTH)
    for worker in prange(workers):
        q, k = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        v, mixed = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        turned, weights = np.zeros(size * rows, np.float32), np.zeros(most_scores(longest, window), np.float32)
        nothing = np.zeros(0, np.float32)
        for task in range(tasks_of(worker, workers, len(order), heads)):
            sentence, head = task_at(task, worker, workers, len(order), heads)
            first, length = starts[order[sentence]], lengths[order[sentence]]
            offset = head * size
            own_table = table[len(table) // heads * head + longest - length :]
            read_qkv(
                qkv, row_scales, column_scales, first, length, 3 * features, features, offset, size, bias, cos, sin, q,
                k, v,
            )  # fmt: skip
            attend_head(
                q, k, v, length, size, own_table, window, first, heads, head, dropping, turned, weights, mixed, nothing,
                features, out,
            )  # fmt: skip


@compiled
@no_type_check
def attention_backward(
    dout, qkv, bias, table, window, cos, sin, starts, lengths, order, heads, dropping, workers, dqkv, dbias, dtable
):
    """Write the derivatives of `attention`.

    With P the weights, D their dropout and dP = D'(dO V^T): dV = D(P)^T dO, dS = P * (dP - rowsum(dP * P)),
    dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d).

    Args:
        dout: [tokens * features].
        qkv, bias, table, window, cos, sin, starts, lengths, order, heads, dropping, workers: as in `attention`.
        dqkv: [tokens * 3 * features].
        dbias: [workers, 3 * features], or without rows; its sum over the workers is the derivative.
        dtable: [workers, len(table)], or without rows; the same.
    """
    features = len(dout) // (lengths.sum())
    size, longest = features // heads, lengths[order[0]]
    rows, most = up_to(longest, WIDTH), most_scores(longest, window)
    for worker in prange(workers):
        q, k = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        v, into = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        part, nothing = np.zeros(rows * size, np.float32), np.zeros(0, np.float32)
        dk, dv = np.zeros(rows * size, np.float32), np.zeros(rows * size, np.float32)
        turned_k, turned_v = np.zeros(size * rows, np.float32), np.zeros(size * rows, np.float32)
        weights, thinned, slopes = np.zeros(most, np.float32), np.zeros(most, np.float32), np.zeros(most, np.float32)
        scale = 1.0 / np.sqrt(size)
        sums = dbias[worker] if len(dbias) else nothing
        for task in range(tasks_of(worker, workers, len(order), heads)):
            sentence, head = task_at(task, worker, workers, len(order), heads)
            first, length = starts[order[sentence]], lengths[order[sentence]]
            width, offset = up_to(length, WIDTH), head * size
            read_qkv(
                qkv, nothing, nothing, first, length, 3 * features, features, offset, size, bias, cos, sin, q, k, v
            )
            read(dout, nothing, nothing, first, length, features, offset, size, nothing, 1.0, into)
            turn(k, length, size, width, turned_k)
            turn(v, length, size, width, turned_v)
            dk[: length * size], dv[: length * size] = 0, 0
            for row in range(0, length, block_rows(length, window)):
                count = min(length - row, block_rows(length, window))
                key, end = first_key(row, window), last_key(row, count, length, window)
                wide, start = up_to(end - key, WIDTH), len(table) // heads * head + longest - 1 + key - row
                weigh(q[row * size :], size, turned_k[key:], width, table, start, count, end - key, wide, weights)
                thin(weights, count, wide, first + row, key, heads, head, dropping, thinned)
                multiply(thinned, 1, wide, count, into[row * size :], size, end - key, size, part)
                accumulate(part, (end - key) * size, dv, key * size)
                multiply(into[row * size :], size, 1, size, turned_v[key:], width, count, wide, slopes)
                thin(slopes, count, wide, first + row, key, heads, head, dropping, slopes)
                slopes_of_scores(slopes, weights, count, wide)
                if len(dtable):
                    sum_distances(slopes, start, count, wide, dtable[worker])
                multiply(slopes, 1, wide, count, q[row * size :], size, end - key, size, part)
                accumulate(part, (end - key) * size, dk, key * size)
                multiply(slopes, wide, 1, end - key, k[key * size :], size, count, size, part)
                rotate(part, row, count, size, cos, sin, -1)
                write(count, size, part, scale, first + row, 3 * features, offset, dqkv, sums)
            rotate(dk, 0, length, size, cos, sin, -1)
            write(length, size, dk, 1.0, first, 3 * features, features + offset, dqkv, sums)
            write(length, size, dv, 1.0, first, 3 * features, 2 * features + offset, dqkv, sums)
