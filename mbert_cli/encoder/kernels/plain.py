"""The operations between the matrix products in PyTorch, as in the equations. `fused` must give the same results."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mbert_cli.batch import Layout, to_slots, to_tokens
from mbert_cli.encoder.dropout import draw_key, dropout, dropped_levels
from mbert_cli.encoder.kernels import Pending, bf16_products, working_dtype
from mbert_cli.encoder.kernels.bf16_products import matmul
from mbert_cli.encoder.kernels.int8 import Int8Linear
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.positions import IGNORED, NOWHERE, Relative
from mbert_cli.encoder.prefix import Joined, Prefix, add_gated, join
from mbert_cli.encoder.relative_bias import toeplitz
from mbert_cli.encoder.rotation import Rotation

_BLOCK = 64  # queries that are computed together if the tokens of a long sentence attend to a window only

Drop = partial[Tensor]
"""`dropout` of attention weights, with the numbers of their rows."""


def embed(
    tables: Sequence[nn.Embedding],
    ids: Sequence[Int[Tensor, " tokens"]],
    norm: nn.LayerNorm,
) -> Float[Tensor, "tokens hidden"]:
    """Return LN of the sum of each token's embeddings.

    Args:
        tables: the embeddings of words and positions, and any others.
        ids: for each table, the row of each token.
        norm: the LayerNorm.
    """
    first, *others = (table(rows) for table, rows in zip(tables, ids, strict=True))
    h = norm(sum(others, first))
    return h.to(working_dtype(h))


def linear(x: Float[Tensor, "tokens in"] | Pending, layer: nn.Linear) -> Pending:
    """Return W x + b."""
    x = x.tensor() if isinstance(x, Pending) else x
    if isinstance(layer, Int8Linear):
        return Pending(layer(x))
    x = x.to(working_dtype(x))
    if isinstance(layer, Linear) and x.dtype != layer.weight.dtype:
        return Pending(layer.affine(x))
    return Pending(bf16_products.linear(x, layer.weight, layer.bias))


def add_dropout(pending: Pending) -> Float[Tensor, "tokens features"]:
    """Return dropout(value + bias)."""
    value = pending.value if pending.bias is None else pending.value + pending.bias.to(pending.value.dtype)
    return dropout(value, pending.dropout_p)


def add(x: Float[Tensor, "tokens features"], pending: Pending) -> Float[Tensor, "tokens features"]:
    """Return x + pending."""
    return x + pending.tensor()


def add_bottlenecks(*_: Any) -> None:
    """Return None: each segment is computed by itself. See `bottlenecks.add_bottlenecks`."""


def activate(pending: Pending) -> Float[Tensor, "tokens features"]:
    """Return activation(value + bias)."""
    assert pending.activation is not None
    return pending.activation(add_dropout(replace(pending, dropout_p=0.0)))


def add_then_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
    """Return LN(residual + pending) and residual + pending."""
    total = residual + pending.tensor()
    y = norm(total)
    return y.to(working_dtype(y)), total


def add_norm(
    pending: Pending, residual: Float[Tensor, "tokens hidden"], norm: nn.LayerNorm
) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
    """Return LN(residual + pending) twice: for the next sublayer, and for the residual connection around it."""
    y = norm(residual + pending.tensor())
    y = y.to(working_dtype(y))
    return y, y


def mean(x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "sentences hidden"]:
    """Return the mean of the rows of each sentence, in at least fp32."""
    return cast(Tensor, _Mean.apply(x, layout))


def attend(
    qkv: Pending,
    layout: Layout,
    num_heads: int,
    dropout_p: float,
    prefixes: Sequence[Sequence[Prefix]] = (),
    relative: Relative = NOWHERE,
) -> Float[Tensor, "tokens features"]:
    """Return concat_i softmax(Q_i K_i^T / sqrt(d) + B_i) V_i for every sentence separately; see `encoder.attention`."""
    x = qkv.tensor()
    features = x.shape[-1] // 3
    if layout.num_tokens == 0:
        return x[:, :features]
    special = relative.bias is not None or relative.disentangled is not None or any(prefixes)
    # Dropout in FlashAttention draws from PyTorch's generator: its masks are not those of `encoder.dropout`.
    if not special and not dropped_levels(dropout_p) and has_flash_attention(x, features // num_heads):
        return _flash_attention(x, layout, num_heads, relative)
    joined, bias = join(prefixes, x), relative.limited_bias(layout.longest, x.device)
    blocks, key = [], draw_key() if dropped_levels(dropout_p) else 0
    slots = to_slots(x, layout).split(layout.bucket_slots)
    for index, (bucket, padded) in enumerate(zip(layout.buckets, slots, strict=True)):
        block = padded.view(bucket.sentences, bucket.width, 3, num_heads, features // num_heads)
        q, k, v = block.permute(2, 0, 3, 1, 4).unbind()
        if relative.rotation is not None:
            of_width = relative.rotation.first(bucket.width)
            q, k = of_width.rotate(q), of_width.rotate(k)
        mask = None if bucket.mask is None else bucket.mask[:, None, None, :]
        drop: Drop | None = None
        if dropout_p:
            drop = partial(dropout, p=dropout_p, rows=_attention_rows(layout, index, num_heads), key=key)
        if relative.window is not None and joined is None and bucket.width > 4 * max(relative.window, _BLOCK):
            mixed = _mix_near(q, k, v, mask, bias, relative.window, drop)
        else:
            scores = None if bias is None else toeplitz(bias, bucket.width).to(q.dtype)
            if relative.disentangled is not None:
                q, scores = relative.disentangled.applied(q, k, layout.bucket_segments[index])
            if joined is not None:
                k, v, mask = _with_prefix(k, v, mask, joined, layout.bucket_segments[index])
                scores = None if scores is None else nn.functional.pad(scores, (k.shape[2] - bucket.width, 0))
            mixed = _mix(q, k, v, mask, scores, drop)
        blocks.append(mixed.transpose(1, 2).reshape(-1, features))
    return add_gated(to_tokens(torch.cat(blocks), layout), x, prefixes, layout, num_heads, dropout_p)


def has_flash_attention(x: Tensor, size: int) -> bool:
    """Return whether FlashAttention (Dao 2023) supports packed sentences on x's device with this head size."""
    if x.device.type != "cuda" or x.dtype == torch.float32 or size > 256:
        return False
    return torch.cuda.get_device_capability(x.device) >= (8, 0)


def _flash_attention(x: Tensor, layout: Layout, num_heads: int, relative: Relative) -> Tensor:
    heads = x.view(len(x), 3, num_heads, -1)
    size = heads.shape[-1]
    if relative.rotation is not None:
        places = torch.arange(len(x), device=x.device) - layout.first_tokens[layout.sentence_of_token]
        of_token = Rotation(*(table[places, None] for table in relative.rotation))
        heads = torch.cat([of_token.rotate(heads[:, :2].flatten(1, 2)), heads[:, 2]], 1).view_as(heads)
    # It needs multiples of 8 features; padding with zeros does not change the products.
    q, k, v = (nn.functional.pad(heads, (0, -size % 8)) if size % 8 else heads).unbind(1)
    longest, scale = int(layout.host_lengths.max()), size**-0.5
    # Call the operator of `torch.nn.attention.varlen` directly: that module imports the compiler.
    forward = torch.ops.aten._flash_attention_forward
    window = (
        {} if relative.window is None else dict.fromkeys(("window_size_left", "window_size_right"), relative.window)
    )
    ends = layout.bounds
    mixed = forward(q, k, v, ends, ends, longest, longest, 0.0, False, return_debug_mask=False, scale=scale, **window)
    return cast(Tensor, mixed[0])[..., :size].reshape(len(x), -1)


def _with_prefix(
    k: Tensor, v: Tensor, mask: Tensor | None, joined: Joined, segments: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Prepend each sentence's prefix to its keys and values, each ``[sentences, heads, positions, d]``."""
    if mask is None:
        mask = torch.ones(len(k), 1, 1, k.shape[2], dtype=torch.bool, device=k.device)
    mask = torch.cat([joined.mask[segments][:, None, None], mask], -1)
    before = (x[segments].unflatten(-1, (k.shape[1], -1)).transpose(1, 2) for x in (joined.keys, joined.values))
    k, v = (torch.cat([prefix, sentence], 2) for prefix, sentence in zip(before, (k, v), strict=True))
    return k, v, mask


def _attention_rows(layout: Layout, bucket: int, num_heads: int) -> Int[Tensor, "sentences heads width"]:
    """Return the row numbers of the attention weights of a bucket: one row for each token and head."""
    of_slot = layout.rows[layout.token_of_slot].split(layout.bucket_slots)[bucket]
    tokens = of_slot.view(layout.buckets[bucket].sentences, 1, -1)
    return tokens * num_heads + torch.arange(num_heads, device=tokens.device)[:, None]


def _mix_near(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None, window: int, drop: Drop | None
) -> Tensor:
    """Return `_mix`, computed in blocks of queries; each block reads only the keys in its window."""
    width, parts = q.shape[2], []
    assert bias is not None  # the window is part of it
    for row in range(0, width, _BLOCK):
        end = min(width, row + _BLOCK)
        first, last = max(0, row - window), min(width, end + window)
        distances = torch.arange(first, last, device=q.device) - torch.arange(row, end, device=q.device)[:, None]
        scores = bias[:, distances + (bias.shape[1] - 1) // 2].to(q.dtype)
        if mask is not None:
            # Not minus infinity: a block may contain padding alone.
            scores = scores + torch.where(mask[..., first:last], 0.0, IGNORED).to(q.dtype)
        keys, values = k[:, :, first:last], v[:, :, first:last]
        of_block = drop and partial(drop, rows=drop.keywords["rows"][:, :, row:end], first=first)
        parts.append(_mix(q[:, :, row:end], keys, values, None, scores, of_block))
    return torch.cat(parts, 2)


def _mix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None, drop: Drop | None) -> Tensor:
    """Return drop(softmax(Q K^T / sqrt(d) + B)) V; `mask` is False at keys to ignore."""
    if drop is None and (q.device.type != "cpu" or not q.requires_grad):
        if bias is not None:
            mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # For short sequences such as sentences, the plain formula is faster on a CPU, especially in the backward pass.
    scores = matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(-1)
    return matmul(weights if drop is None else drop(weights), v)


class _Mean(torch.autograd.Function):
    # PyTorch's built-in backward pass takes longer than everything else between the encoder and the losses.
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.layout, ctx.dtype = layout, x.dtype
        wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
        # `unsafe` skips a check of the lengths, for which the CPU would wait for a GPU.
        return torch.segment_reduce(wide, "mean", lengths=layout.lengths, axis=0, unsafe=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        share = (gradients[0] / ctx.layout.lengths[:, None]).to(ctx.dtype)
        return share.index_select(0, ctx.layout.sentence_of_token), None
