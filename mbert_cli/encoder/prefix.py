"""Attention to a prefix: learned keys and values that precede every sentence of a task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mbert_cli.batch import as_tensor
from mbert_cli.encoder.dropout import dropout
from mbert_cli.encoder.kernels.bf16_products import matmul
from mbert_cli.encoder.padded_layout import AnyLayout


@dataclass(frozen=True)
class Prefix:
    """Keys and values of one layer for all sentences of a task.

    Args:
        keys: keys of the positions before the sentence.
        values: values of the same positions.
        gate: one weight per head. The prefix then has a separate softmax, and its result is added with this weight. If
            it is None, the prefix is part of the sentence's softmax.
    """

    keys: Float[Tensor, "length hidden"]
    values: Float[Tensor, "length hidden"]
    gate: Float[Tensor, " heads"] | None = None


@dataclass(frozen=True)
class Joined:
    """The prefixes without a gate of all segments, padded to the longest.

    Args:
        keys: keys, one block per segment.
        values: values, one block per segment.
        mask: True at real positions of a segment's prefix, False at padding.
    """

    keys: Float[Tensor, "segments length hidden"]
    values: Float[Tensor, "segments length hidden"]
    mask: Bool[Tensor, "segments length"]


def join(prefixes: Sequence[Sequence[Prefix]], like: Tensor) -> Joined | None:
    """Concatenate the prefixes without a gate per segment; return None if there are none.

    Args:
        prefixes: the prefixes of each segment.
        like: concatenated queries, keys and values; gives the data type and the number of features.
    """
    ungated = [[prefix for prefix in segment if prefix.gate is None] for segment in prefixes]
    if not any(ungated):
        return None
    empty = like.new_zeros(0, like.shape[-1] // 3)
    keys = [torch.cat([one.keys.to(like.dtype) for one in segment]) if segment else empty for segment in ungated]
    values = [torch.cat([one.values.to(like.dtype) for one in segment]) if segment else empty for segment in ungated]
    lengths = np.array([len(block) for block in keys])
    mask = as_tensor(np.arange(lengths.max()) < lengths[:, None], like.device)
    pad = torch.nn.utils.rnn.pad_sequence
    return Joined(pad(keys, batch_first=True), pad(values, batch_first=True), mask)


def add_gated(
    mixed: Float[Tensor, "tokens features"],
    qkv: Float[Tensor, "tokens features3"],
    prefixes: Sequence[Sequence[Prefix]],
    layout: AnyLayout,
    num_heads: int,
    dropout_p: float,
) -> Float[Tensor, "tokens features"]:
    """Add gate * softmax(Q K_p^T / sqrt(d)) V_p of every gated prefix to the tokens of its segment.

    Args:
        mixed: the result of attention.
        qkv: concatenated queries, keys and values.
        prefixes: the prefixes of each segment.
        layout: positions of the segments in the stream.
        num_heads: number of attention heads; divides features.
        dropout_p: probability of dropping an attention weight.
    """
    if not any(prefix.gate is not None for segment in prefixes for prefix in segment):
        return mixed
    queries = qkv.chunk(3, -1)[0].unflatten(-1, (num_heads, -1))
    one_segment = len(layout.segment_sentences) == 1
    queries_of = [queries] if one_segment else queries.split(layout.segment_tokens)
    parts = [mixed] if one_segment else list(mixed.split(layout.segment_tokens))
    for index, segment in enumerate(prefixes):
        q = queries_of[index].transpose(0, 1)
        for prefix in segment:
            if prefix.gate is None:
                continue
            keys, values = (
                x.to(q.dtype).unflatten(-1, (num_heads, -1)).transpose(0, 1) for x in (prefix.keys, prefix.values)
            )
            weights = matmul(q * q.shape[-1] ** -0.5, keys.transpose(1, 2)).softmax(-1)
            if dropout_p:
                weights = dropout(weights, dropout_p, _rows(layout.segments[index], num_heads))
            shares = matmul(weights, values) * prefix.gate.to(q.dtype)[:, None, None]
            parts[index] = parts[index] + shares.transpose(0, 1).flatten(1)
    return parts[0] if one_segment else torch.cat(parts)


def _rows(layout: AnyLayout, num_heads: int) -> Int[Tensor, "heads tokens"]:
    """Return the row numbers of attention weights: one row for each token and head."""
    assert layout.rows is not None, "an exported model has no dropout"
    return layout.rows * num_heads + torch.arange(num_heads, device=layout.rows.device)[:, None]
