"""int8 products and the next operations, for one block of rows at a time: a core's cache keeps intermediate results.

`int8_loops` has the same operations on the whole results of products. Both give the same bytes.
"""

from typing import no_type_check

import numpy as np
from numba import prange

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.head_loops import attend_head, read_qkv
from mbert_cli.encoder.kernels.int8_loops import gate_row, gelu_row, norm_row
from mbert_cli.encoder.kernels.int8_tile import (
    BLOCK,
    PANEL,
    PREPARED,
    ROWS,
    multiply_tile,
    prepare_rows,
    prepared_size,
)
from mbert_cli.encoder.kernels.lanes import WIDTH
from mbert_cli.encoder.kernels.position_loops import most_scores, up_to

UNGATED = -1  # the kind of activation: GELU without a gate


@inlined
@no_type_check
def multiply_block(rows8, first, rows, size, weights, columns, prepared, z):
    """Write the products of a block of rows and a weight.

    Args:
        rows8: int8, [_ * size].
        first: the block's first row.
        rows: number of rows of the block.
        size: numbers of a row.
        weights: the result of `int8_tile.packed`.
        columns: outputs of the weight, rounded up to a multiple of PANEL.
        prepared: memory for `prepared_size(rows, size)` numbers.
        z: int32, [rows * columns].
    """
    prepare_rows(rows8, first * size, rows, size, prepared)
    for panel in range(0, columns, PANEL):
        for row in range(0, rows, ROWS):
            count = min(ROWS, rows - row)
            at, place = (first + row) * size, row * columns + panel
            multiply_tile(rows8, at, size, count, weights, panel * size, prepared, row, z, place, columns)


@compiled
@no_type_check
def multiply_norm(
    x8, x_scales, inner_weights, inner_scales, inner_bias, kind, weights, column_scales, bias, residual, gamma, beta,
    eps, sums, y, rows8, scales,
):  # fmt: skip
    """Write y = LN(residual + W x + bias), and y in int8. If there are inner weights W', x is f(W' x' + bias').

    Args:
        x8: int8, [rows * size], the rows of x, or of x' if there are inner weights.
        x_scales: [rows].
        inner_weights: the result of `int8_tile.packed` for W'; or empty.
        inner_scales: the scale of each output of W'; or empty.
        inner_bias: or empty.
        kind: f: UNGATED, or the kind of a gate; see `gate_loops.add_gate`.
        weights: the result of `int8_tile.packed` for W.
        column_scales: [hidden].
        bias: [hidden], or empty.
        residual, gamma, beta, eps, sums, y, rows8, scales: see `int8_loops.norm_rows`.
    """
    rows, hidden = len(x_scales), len(gamma)
    size, width, inside = len(x8) // rows, up_to(hidden, PANEL), up_to(len(inner_scales), PANEL)
    features = len(inner_scales) if kind == UNGATED else len(inner_scales) // 2
    for block in prange((rows + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        count = min(BLOCK, rows - first)
        values = np.empty(max(features, hidden), np.float32)
        prepared = np.empty(prepared_size(BLOCK, max(size, features)), PREPARED)
        z = np.empty(BLOCK * max(inside, width), np.int32)
        if len(inner_weights):
            inner8, row_scales = np.empty(BLOCK * features, np.int8), np.empty(BLOCK, np.float32)
            multiply_block(x8, first, count, size, inner_weights, inside, prepared, z)
            for row in range(count):
                at, to, scale = row * inside, row * features, x_scales[first + row]
                if kind == UNGATED:
                    row_scales[row] = gelu_row(z, at, scale, inner_scales, inner_bias, values, inner8, to)
                else:
                    row_scales[row] = gate_row(z, at, scale, inner_scales, inner_bias, kind, values, inner8, to)
            multiply_block(inner8, 0, count, features, weights, width, prepared, z)
        else:
            row_scales = x_scales[first:]
            multiply_block(x8, first, count, size, weights, width, prepared, z)
        for row in range(count):
            norm_row(
                z, row * width, row_scales[row], column_scales, bias, residual, gamma, beta, eps, first + row, values,
                sums, y, rows8, scales,
            )  # fmt: skip


@inlined
@no_type_check
def end_of_block(lengths, first, end):
    """Return the end of the longest block of sentences with at most BLOCK tokens, or of one longer sentence."""
    tokens = lengths[first]
    last = first + 1
    while last < end and tokens + lengths[last] <= BLOCK:
        tokens += lengths[last]
        last += 1
    return last


@compiled
@no_type_check
def multiply_attention(
    x8, x_scales, weights, column_scales, bias, table, window, cos, sin, starts, lengths, parts, heads, dropping, out
):
    """Write softmax(Q K^T / sqrt(d) + B) V, where [Q K V] are the products of int8 rows and a weight, plus the bias.

    Args:
        x8: int8, [tokens * size].
        x_scales: [tokens].
        weights: see `multiply_norm`.
        column_scales: [3 * features].
        bias, table, window, cos, sin, starts, lengths, heads, out: see `attention_loops.attention`.
        parts: the first sentence of each part of the work, followed by the number of sentences.
        dropping: without dropout; see `dropout_loops`.
    """
    tokens, features = len(x_scales), len(column_scales) // 3
    size, head_size, longest = len(x8) // tokens, features // heads, lengths.max()
    width, rows, most = up_to(3 * features, PANEL), up_to(longest, WIDTH), max(BLOCK, longest)
    for part in prange(len(parts) - 1):
        q, k = np.zeros(rows * head_size, np.float32), np.zeros(rows * head_size, np.float32)
        v, mixed = np.zeros(rows * head_size, np.float32), np.zeros(rows * head_size, np.float32)
        turned, scores = np.zeros(head_size * rows, np.float32), np.zeros(most_scores(longest, window), np.float32)
        z, nothing = np.empty(most * width, np.int32), np.zeros(0, np.float32)
        prepared = np.empty(prepared_size(most, size), PREPARED)
        sentence = parts[part]
        while sentence < parts[part + 1]:
            block, end = starts[sentence], end_of_block(lengths, sentence, parts[part + 1])
            count = starts[end - 1] + lengths[end - 1] - block
            multiply_block(x8, block, count, size, weights, width, prepared, z)
            while sentence < end:
                first, length = starts[sentence], lengths[sentence]
                for head in range(heads):
                    own_table = table[len(table) // heads * head + longest - length :]
                    read_qkv(
                        z, x_scales[block:], column_scales, first - block, length, width, features, head * head_size,
                        head_size, bias, cos, sin, q, k, v,
                    )  # fmt: skip
                    attend_head(
                        q, k, v, length, head_size, own_table, window, first, heads, head, dropping, turned, scores,
                        mixed, nothing, features, out,
                    )  # fmt: skip
                sentence += 1
