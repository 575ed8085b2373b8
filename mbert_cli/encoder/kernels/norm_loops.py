"""LN(residual + dropout(z + bias)) and its derivative, row by row."""

from typing import no_type_check

import numpy as np
from numba import prange, types

from mbert_cli.encoder.kernels.compiling import compiled, inlined
from mbert_cli.encoder.kernels.dropout_loops import drop, random_bits, row_key
from mbert_cli.encoder.kernels.lanes import WIDTH, fma, load, splat, store, total


@inlined
@no_type_check
def normalise(row, hidden, eps, gamma, beta, states, y, at):
    """Write (row - mean) / sqrt(variance + eps) to `states` and LN(row) to `y`; return 1 / sqrt(variance + eps)."""
    sums = splat(types.float32(0))
    for column in range(0, hidden, WIDTH):
        sums = sums + load(row, column)
    mean = splat(types.float32(total(sums) / hidden))
    squares = splat(types.float32(0))
    for column in range(0, hidden, WIDTH):
        centred = load(row, column) - mean
        squares = fma(centred, centred, squares)
    scale = types.float32(1.0 / np.sqrt(total(squares) / hidden + eps))
    for column in range(0, hidden, WIDTH):
        state = (load(row, column) - mean) * splat(scale)
        if len(states):
            store(states, at + column, state)
        store(y, at + column, fma(state, load(gamma, column), load(beta, column)))
    return scale


@compiled
@no_type_check
def add_norm(z, bias, residual, gamma, beta, eps, dropping, chunks, states, scales, y):
    """Write y = LN(residual + dropout(z + bias)).

    Args:
        z: [rows * hidden].
        bias: [hidden], or empty.
        residual: [rows * hidden], or empty.
        gamma, beta: [hidden].
        eps: added to the variance.
        dropping: see `dropout_loops`.
        chunks: number of parts that the rows are split into.
        states: [rows * hidden], receives the normalised rows, or empty; may be z itself.
        scales: [rows], receives 1 / sqrt(variance + eps).
        y: [rows * hidden]; may be z itself if `states` is empty.
    """
    hidden, rows = len(gamma), len(scales)
    for chunk in prange(chunks):
        sums = np.empty(hidden, np.float32)
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at, key = row * hidden, row_key(row, dropping)
            for pair in range(0, hidden, 2 * WIDTH):
                bits = random_bits(key, pair)
                for half in range(2):
                    column = pair + half * WIDTH
                    if column < hidden:
                        value = load(z, at + column)
                        if len(bias):
                            value = value + load(bias, column)
                        value = drop(value, bits, half, dropping)
                        if len(residual):
                            value = value + load(residual, at + column)
                        store(sums, column, value)
            scales[row] = normalise(sums, hidden, eps, gamma, beta, states, y, at)


@compiled
@no_type_check
def add_norm_backward(dy, beside, states, scales, gamma, dropping, chunks, dz, dresidual, dgamma, dbeta, dbias):
    """Write the derivatives of `add_norm`.

    Args:
        dy, states: [rows * hidden].
        beside: [rows * hidden], is added to dy; or empty.
        scales: [rows].
        gamma: [hidden].
        dropping: see `dropout_loops`.
        chunks: as in `add_norm`.
        dz: [rows * hidden], or empty if it equals dresidual.
        dresidual: [rows * hidden].
        dgamma, dbeta: [chunks, hidden], or without rows; their sums over the chunks are the derivatives.
        dbias: as dgamma.
    """
    hidden, rows = len(gamma), len(scales)
    for chunk in prange(chunks):
        both = np.empty(hidden, np.float32)
        for row in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            at = row * hidden
            along, sums = splat(types.float32(0)), splat(types.float32(0))
            for column in range(0, hidden, WIDTH):
                into = load(dy, at + column)
                if len(beside):
                    into = into + load(beside, at + column)
                store(both, column, into)
                state = load(states, at + column)
                if len(dgamma):
                    store(dgamma[chunk], column, fma(into, state, load(dgamma[chunk], column)))
                    store(dbeta[chunk], column, load(dbeta[chunk], column) + into)
                into = into * load(gamma, column)
                sums = sums + into
                along = fma(into, state, along)
            mean = splat(types.float32(-total(sums) / hidden))
            share = splat(types.float32(-total(along) / hidden))
            scale, key = splat(scales[row]), row_key(row, dropping)
            for pair in range(0, hidden, 2 * WIDTH):
                bits = random_bits(key, pair)
                for half in range(2):
                    column = pair + half * WIDTH
                    if column < hidden:
                        state = load(states, at + column)
                        value = fma(load(both, column), load(gamma, column), mean)
                        value = fma(share, state, value) * scale
                        store(dresidual, at + column, value)
                        value = drop(value, bits, half, dropping)
                        if len(dz):
                            store(dz, at + column, value)
                        if len(dbias):
                            store(dbias[chunk], column, load(dbias[chunk], column) + value)
