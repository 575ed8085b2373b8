"""The operations between the matrix products, for sentences padded to one width; for `mbert export`.

Like `plain`, but attention has no buckets. The number and widths of buckets depend on the lengths of the sentences, and
an exported graph must be the same for all lengths. The layout is a `PaddedLayout`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.kernels.bf16_products import matmul
from mbert_cli.encoder.kernels.plain import (
    activate,
    add,
    add_bottlenecks,
    add_dropout,
    add_norm,
    add_then_norm,
    embed,
    linear,
    mean,
)
from mbert_cli.encoder.padded_layout import PaddedLayout
from mbert_cli.encoder.positions import NOWHERE, Relative
from mbert_cli.encoder.prefix import Prefix, add_gated, join
from mbert_cli.encoder.relative_bias import toeplitz

__all__ = [
    "activate",
    "add",
    "add_bottlenecks",
    "add_dropout",
    "add_norm",
    "add_then_norm",
    "attend",
    "embed",
    "linear",
    "mean",
]


def attend(
    qkv: Pending,
    layout: PaddedLayout,
    num_heads: int,
    dropout_p: float,
    prefixes: Sequence[Sequence[Prefix]] = (),
    relative: Relative = NOWHERE,
) -> Float[Tensor, "tokens features"]:
    """Return concat_i softmax(Q_i K_i^T / sqrt(d) + B_i) V_i for every sentence separately; see `encoder.attention`."""
    mask = layout.mask
    x = qkv.tensor()
    sentences, width = mask.shape
    features = x.shape[-1] // 3
    q, k, v = x.reshape(sentences, width, 3, num_heads, features // num_heads).permute(2, 0, 3, 1, 4).unbind()
    if relative.rotation is not None:
        q, k = relative.rotation.rotate(q), relative.rotation.rotate(k)
    by_distance = relative.limited_bias(width, x.device)
    bias = None if by_distance is None else toeplitz(by_distance, width)
    if relative.disentangled is not None:
        q, bias = relative.disentangled.applied(q, k, None)
    seen = mask[:, None, None, :]
    joined = join(prefixes, x)
    if joined is not None:
        before = [
            prefix[0].unflatten(-1, (num_heads, -1)).transpose(0, 1)[None].expand(sentences, -1, -1, -1)
            for prefix in (joined.keys, joined.values)
        ]
        k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        seen = torch.cat([torch.ones_like(seen[..., :1]).expand(-1, -1, -1, joined.keys.shape[1]), seen], -1)
    scores = matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    if bias is not None:
        of_prefix = 0 if joined is None else joined.keys.shape[1]
        scores = scores + nn.functional.pad(bias, (of_prefix, 0))
    mixed = matmul(scores.masked_fill(~seen, float("-inf")).softmax(-1), v)
    mixed = mixed.transpose(1, 2).reshape(sentences * width, features)
    return add_gated(mixed, x, prefixes, layout, num_heads, dropout_p)
