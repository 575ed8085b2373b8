"""softmax(Q K^T / sqrt(d)) V over packed sentences, and its derivative.

A program computes a tile of tokens of the stream, 64 in bf16, and one head. A tile may contain several short sentences,
or a part of a long one. The program loops over the tiles of keys from the first token of the first sentence to the last
token of the last sentence, and ignores the scores between different sentences. So the number of programs depends only
on the number of tokens. The softmax over several tiles is that of FlashAttention (Dao 2023). Attention weights are not
stored: the backward pass computes them again. Each program writes its own rows, without atomic additions, so a repeated
run has the same result. A value that is NaN or infinite affects all sentences of a tile.
"""

from typing import no_type_check

import triton
import triton.language as tl

from mbert_cli.encoder.kernels.triton.hashing import kept, scaled
from mbert_cli.encoder.kernels.triton.launching import kernel


@triton.jit
@no_type_check
def read(source, bias, row, tokens, stride, offset, size: tl.constexpr, wide: tl.constexpr, real: tl.constexpr):
    """Return the features of one head for some tokens, [tile, wide], in the data type of `source`."""
    column = tl.arange(0, wide)
    inside = (row < tokens)[:, None] & (column < size)[None, :]
    value = tl.load(source + row.to(tl.int64)[:, None] * stride + offset + column[None, :], inside, 0)
    if bias is not None:
        shift = tl.load(bias + offset + column, column < size, 0).to(real)
        value = (value.to(real) + shift[None, :]).to(value.dtype)
    return value


@triton.jit
@no_type_check
def write(value, out, sums, row, tokens, stride, offset, size: tl.constexpr, wide: tl.constexpr):
    """Write the features of one head for some tokens, and the sums of their columns for the derivative of a bias."""
    column = tl.arange(0, wide)
    inside = (row < tokens)[:, None] & (column < size)[None, :]
    place = row.to(tl.int64)[:, None] * stride + offset + column[None, :]
    tl.store(out + place, value.to(out.dtype.element_ty), inside)
    if sums is not None:
        tl.store(sums + offset + column, tl.sum(tl.where(inside, value, 0), 0), column < size)


@triton.jit
@no_type_check
def product(a, b, real: tl.constexpr):
    """Return the matrix product of two tiles, with sums in fp32 or fp64.

    For values in fp32, three products of TF32 together have nearly the precision of fp32.
    """
    return tl.dot(a, b, input_precision="tf32x3", out_dtype=real)


@triton.jit
@no_type_check
def extent(bounds, first, tokens, tile: tl.constexpr):
    """Return the first token and the end of the sentences of a tile."""
    last = tl.minimum(first + tile, tokens) - 1
    return tl.load(bounds + first), tl.load(bounds + tokens + last)


@triton.jit
@no_type_check
def mask_rows(numbers, query, tokens, heads, head):
    """Return the numbers of the rows of attention weights in the mask: one row for each token and head."""
    row = query.to(tl.int64)
    if numbers is not None:
        row = tl.load(numbers + query, query < tokens, 0) * heads + head
    return row


@kernel
@no_type_check
def attention(
    qkv, bias, bounds, key, numbers, out, logs, tokens, heads, factor,
    dropped, real: tl.constexpr,
    size: tl.constexpr, wide: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Write dropout(softmax(Q K^T / sqrt(d))) V.

    Args:
        qkv: [tokens, 3 * features]: concatenated queries, keys and values.
        bias: [3 * features], added to qkv; or None.
        bounds: [2, tokens]: for each token, the first token of its sentence and the end of its sentence.
        key: key of the site of dropout; None without dropout.
        numbers: [tokens]: the place of each token in the whole batch; None without dropout.
        out: [tokens, features].
        logs: [heads, tokens], receives the logarithm of the sum of the exponentials of each row of scores; or None.
        tokens: number of tokens.
        heads: number of heads.
        factor: 1 / sqrt(d).
        dropped: see `hashing.kept`.
        real: data type of sums.
        size: number of features of a head.
        wide: `size` rounded up to a power of two, at least 16.
        tile: number of tokens of a tile.
    """
    first, head = tl.program_id(0) * tile, tl.program_id(1)
    features = heads * size
    query = first + tl.arange(0, tile)
    start = tl.load(bounds + query, query < tokens, -1)
    begin, end = extent(bounds, first, tokens, tile)
    q = read(qkv, bias, query, tokens, 3 * features, head * size, size, wide, real)
    row = mask_rows(numbers, query, tokens, heads, head)
    top, total = tl.full([tile], -1e30, real), tl.zeros([tile], real)
    mixed = tl.zeros([tile, wide], real)
    for place in range(begin, end, tile):
        other = place + tl.arange(0, tile)
        theirs = tl.load(bounds + other, other < tokens, -2)
        k = read(qkv, bias, other, tokens, 3 * features, features + head * size, size, wide, real)
        v = read(qkv, bias, other, tokens, 3 * features, 2 * features + head * size, size, wide, real)
        same = start[:, None] == theirs[None, :]
        scores = tl.where(same, product(q, tl.trans(k), real) * factor, -1e30)
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.where(same, tl.exp(scores - higher[:, None]), 0)
        shrink = tl.exp(top - higher)
        total = total * shrink + tl.sum(weights, 1)
        if key is not None:
            weights = scaled(weights, kept(key, row, other - theirs, dropped), dropped)
        mixed = mixed * shrink[:, None] + product(weights.to(v.dtype), v, real)
        top = higher
    total = tl.where(query < tokens, total, 1)
    write(mixed / total[:, None], out, None, query, tokens, features, head * size, size, wide)
    if logs is not None:
        tl.store(logs + head * tokens + query, top + tl.log(total), query < tokens)
