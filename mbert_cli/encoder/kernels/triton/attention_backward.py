"""The derivative of `attention.attention`.

With P the weights, D their dropout and dP = D'(dO V^T): dV = D(P)^T dO, dS = P * (dP - rowsum(dO * O)),
dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d). Source: Dao 2023, algorithm 2.
"""

from typing import no_type_check

import triton
import triton.language as tl

from mbert_cli.encoder.kernels.triton.attention import extent, mask_rows, product, read, write
from mbert_cli.encoder.kernels.triton.hashing import kept, scaled
from mbert_cli.encoder.kernels.triton.launching import kernel


@triton.jit
@no_type_check
def _slopes(
    q, k, v, into, out, log, start, theirs, row, column, key, factor,
    dropped, real: tl.constexpr,
):  # fmt: skip
    """Return the weights of a tile after dropout, and the derivatives of its scores; [queries, keys]."""
    scores = product(q, tl.trans(k), real) * factor
    weights = tl.exp(tl.where(start[:, None] == theirs[None, :], scores - log[:, None], -1e30))
    slopes = product(into, tl.trans(v), real)
    thinned = weights
    if key is not None:
        mask = kept(key, row, column, dropped)
        thinned, slopes = scaled(weights, mask, dropped), scaled(slopes, mask, dropped)
    along = tl.sum(into.to(real) * out.to(real), 1)
    return thinned, weights * (slopes - along[:, None])


@kernel
@no_type_check
def attention_backward(
    dout, out, logs, qkv, bias, bounds, key, numbers, dqkv, dbias, tokens, heads, factor,
    dropped, real: tl.constexpr,
    size: tl.constexpr, wide: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Write the derivatives of `attention`: those of the queries, the keys and the values of a tile.

    Args:
        dout: [tokens, features].
        out: [tokens, features], the result of `attention`.
        logs: [heads, tokens], from `attention`.
        qkv: as in `attention`; the same for `bias` to `numbers`, and for `tokens` to `tile`.
        dqkv: [tokens, 3 * features].
        dbias: [tiles, 3 * features]; its sum over the tiles is the derivative of the bias; or None.
    """
    first, head = tl.program_id(0) * tile, tl.program_id(1)
    features, offset = heads * size, head * size
    own = first + tl.arange(0, tile)
    start = tl.load(bounds + own, own < tokens, -1)
    begin, end = extent(bounds, first, tokens, tile)
    own_row = mask_rows(numbers, own, tokens, heads, head)
    q = read(qkv, bias, own, tokens, 3 * features, offset, size, wide, real)
    into = read(dout, None, own, tokens, features, offset, size, wide, real)
    mixed = read(out, None, own, tokens, features, offset, size, wide, real)
    log = tl.load(logs + head * tokens + own, own < tokens, 0)
    if dbias is not None:
        dbias += tl.program_id(0) * 3 * features
    dq = tl.zeros([tile, wide], real)
    for place in range(begin, end, tile):
        other = place + tl.arange(0, tile)
        theirs = tl.load(bounds + other, other < tokens, -2)
        their_k = read(qkv, bias, other, tokens, 3 * features, features + offset, size, wide, real)
        their_v = read(qkv, bias, other, tokens, 3 * features, 2 * features + offset, size, wide, real)
        _, slopes = _slopes(
            q, their_k, their_v, into, mixed, log, start, theirs, own_row, other - theirs, key, factor,
            dropped, real,
        )  # fmt: skip
        dq += product(slopes.to(their_k.dtype), their_k, real)
    write(dq * factor, dqkv, dbias, own, tokens, 3 * features, offset, size, wide)
    k = read(qkv, bias, own, tokens, 3 * features, features + offset, size, wide, real)
    v = read(qkv, bias, own, tokens, 3 * features, 2 * features + offset, size, wide, real)
    dk, dv = tl.zeros([tile, wide], real), tl.zeros([tile, wide], real)
    for place in range(begin, end, tile):
        other = place + tl.arange(0, tile)
        theirs = tl.load(bounds + other, other < tokens, -2)
        other_row = mask_rows(numbers, other, tokens, heads, head)
        their_q = read(qkv, bias, other, tokens, 3 * features, offset, size, wide, real)
        their_into = read(dout, None, other, tokens, features, offset, size, wide, real)
        their_mixed = read(out, None, other, tokens, features, offset, size, wide, real)
        their_log = tl.load(logs + head * tokens + other, other < tokens, 0)
        thinned, slopes = _slopes(
            their_q, k, v, their_into, their_mixed, their_log, theirs, start, other_row, own - start, key, factor,
            dropped, real,
        )  # fmt: skip
        dv += product(tl.trans(thinned).to(their_into.dtype), their_into, real)
        dk += product(tl.trans(slopes).to(their_q.dtype), their_q, real)
    write(dk * factor, dqkv, dbias, own, tokens, 3 * features, features + offset, size, wide)
    write(dv, dqkv, dbias, own, tokens, 3 * features, 2 * features + offset, size, wide)
