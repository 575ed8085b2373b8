"""Attention to learned keys and values that stand before every sentence of a task."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mbert_cli.batch import Layout
from mbert_cli.encoder.dropout import dropout


@dataclass(frozen=True)
class Prefix:
    """Keys and values of one layer for all sentences of a task.

    Args:
        keys: of the positions before the sentence.
        values: likewise.
        gate: if given, the prefix has a softmax of its own and is added with this weight, one a head; else it stands
            in the sentence's own softmax.
    """

    keys: Float[Tensor, "length hidden"]
    values: Float[Tensor, "length hidden"]
    gate: Float[Tensor, " heads"] | None = None


@dataclass(frozen=True)
class Joined:
    """The prefixes without a gate, of all segments, padded to the longest.

    Args:
        keys: one block a segment.
        values: likewise.
        mask: True where a segment's prefix has a position.
    """

    keys: Float[Tensor, "segments length hidden"]
    values: Float[Tensor, "segments length hidden"]
    mask: Bool[Tensor, "segments length"]


def join(prefixes: Sequence[Sequence[Prefix]], like: Tensor) -> Joined | None:
    """Put the prefixes that stand in the sentences' own softmax beside each other; None if there are none.

    Args:
        prefixes: those of each segment.
        like: has the data type and the features of keys beside each other with queries and values.
    """
    ungated = [[each for each in own if each.gate is None] for own in prefixes]
    if not any(ungated):
        return None
    empty = like.new_zeros(0, like.shape[-1] // 3)
    keys = [torch.cat([each.keys.to(like.dtype) for each in own]) if own else empty for own in ungated]
    values = [torch.cat([each.values.to(like.dtype) for each in own]) if own else empty for own in ungated]
    lengths = [len(each) for each in keys]
    positions = torch.arange(max(lengths), device=like.device)
    mask = positions < torch.tensor(lengths, device=like.device)[:, None]
    pad = torch.nn.utils.rnn.pad_sequence
    return Joined(pad(keys, batch_first=True), pad(values, batch_first=True), mask)


def add_gated(
    mixed: Float[Tensor, "tokens features"],
    qkv: Float[Tensor, "tokens features3"],
    prefixes: Sequence[Sequence[Prefix]],
    layout: Layout,
    num_heads: int,
    dropout_p: float,
) -> Float[Tensor, "tokens features"]:
    """Add gate * softmax(Q K_p^T / sqrt(d)) V_p of every gated prefix to the tokens of its segment.

    Args:
        mixed: what attention returned.
        qkv: queries, keys and values beside each other.
        prefixes: those of each segment.
        layout: where the segments lie.
        num_heads: divides features.
        dropout_p: probability of dropping an attention weight.
    """
    if not any(each.gate is not None for own in prefixes for each in own):
        return mixed
    queries = qkv.chunk(3, -1)[0].unflatten(-1, (num_heads, -1))
    whole = len(layout.segment_sentences) == 1
    queries_of = [queries] if whole else queries.split(layout.segment_tokens)
    parts = [mixed] if whole else list(mixed.split(layout.segment_tokens))
    for index, own in enumerate(prefixes):
        q = queries_of[index].transpose(0, 1)
        for each in own:
            if each.gate is None:
                continue
            keys, values = (
                x.to(q.dtype).unflatten(-1, (num_heads, -1)).transpose(0, 1) for x in (each.keys, each.values)
            )
            weights = dropout(((q * q.shape[-1] ** -0.5) @ keys.transpose(1, 2)).softmax(-1), dropout_p)
            shares = (weights @ values) * each.gate.to(q.dtype)[:, None, None]
            parts[index] = parts[index] + shares.transpose(0, 1).flatten(1)
    return parts[0] if whole else torch.cat(parts)
