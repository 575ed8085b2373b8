"""Multi-head self-attention over packed sentences: the only place in a layer that looks at the layout."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout, to_slots, to_tokens
from mbert_cli.encoder.dropout import dropout
from mbert_cli.encoder.prefix import Joined, Prefix, add_gated, join
from mbert_cli.encoder.segment_adapters import SegmentAdapters


def attend(
    qkv: Float[Tensor, "tokens features3"],
    layout: Layout,
    num_heads: int,
    dropout_p: float,
    prefixes: Sequence[Sequence[Prefix]] = (),
) -> Float[Tensor, "tokens features"]:
    """Return concat_i softmax(Q_i K_i^T / sqrt(d)) V_i for every sentence on its own.

    Args:
        qkv: queries, keys and values beside each other, each of ``features = features3 / 3``.
        layout: where the sentences lie; no token attends beyond its sentence.
        num_heads: divides features.
        dropout_p: probability of dropping an attention weight; 0 outside training.
        prefixes: keys and values that each segment's sentences attend to beside their own; none by default.
    """
    features = qkv.shape[-1] // 3
    if layout.num_tokens == 0:
        return qkv[:, :features]
    joined = join(prefixes, qkv)
    blocks = []
    slots = to_slots(qkv, layout).split(layout.bucket_slots)
    for index, (bucket, padded) in enumerate(zip(layout.buckets, slots, strict=True)):
        block = padded.view(bucket.sentences, bucket.width, 3, num_heads, features // num_heads)
        q, k, v = block.permute(2, 0, 3, 1, 4).unbind()
        mask = None if bucket.mask is None else bucket.mask[:, None, None, :]
        if joined is not None:
            k, v, mask = _with_prefix(k, v, mask, joined, layout.bucket_segments[index])
        mixed = _mix(q, k, v, mask, dropout_p)
        blocks.append(mixed.transpose(1, 2).reshape(-1, features))
    return add_gated(to_tokens(torch.cat(blocks), layout), qkv, prefixes, layout, num_heads, dropout_p)


def _with_prefix(
    k: Tensor, v: Tensor, mask: Tensor | None, joined: Joined, segments: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Put each sentence's prefix before its own keys and values, each ``[sentences, heads, positions, d]``."""
    if mask is None:
        mask = torch.ones(len(k), 1, 1, k.shape[2], dtype=torch.bool, device=k.device)
    mask = torch.cat([joined.mask[segments][:, None, None], mask], -1)
    before = (x[segments].unflatten(-1, (k.shape[1], -1)).transpose(1, 2) for x in (joined.keys, joined.values))
    k, v = (torch.cat([prefix, own], 2) for prefix, own in zip(before, (k, v), strict=True))
    return k, v, mask


def _mix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float) -> Tensor:
    """Return softmax(Q K^T / sqrt(d)) V; `mask` is False at keys that must not be seen."""
    if q.device.type != "cpu" or not q.requires_grad:
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p)
    # For sentences, as short as they are, the plain formula's backward pass is the faster one on a CPU.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return dropout(scores.softmax(-1), dropout_p) @ v


class SelfAttention(nn.Module):
    """BERT's attention sublayer MH(h) = W_O attend(W_QKV h), without its residual connection.

    Args:
        hidden_size: d_m, features in and out.
        num_heads: attention heads.
        dropout_p: probability of dropping an attention weight in training.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout_p: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout_p = dropout_p
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, h: Float[Tensor, "tokens hidden"], layout: Layout, adapters: SegmentAdapters, layer: int
    ) -> Float[Tensor, "tokens hidden"]:
        """Return MH(h)."""
        dropout_p = self.dropout_p if self.training else 0.0
        qkv = adapters.linear(self.qkv, h, "qkv", layer)
        mixed = attend(qkv, layout, self.num_heads, dropout_p, adapters.prefixes(layer))
        return adapters.linear(self.output, mixed, "attention_output", layer)
