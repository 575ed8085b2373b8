"""Multi-head self-attention over packed sentences: the only place in a layer that looks at the layout."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout, to_slots, to_tokens


def attend(
    qkv: Float[Tensor, "tokens features3"], layout: Layout, num_heads: int, dropout: float
) -> Float[Tensor, "tokens features"]:
    """Return concat_i softmax(Q_i K_i^T / sqrt(d)) V_i for every sentence on its own.

    Args:
        qkv: queries, keys and values beside each other, each of ``features = features3 / 3``.
        layout: where the sentences lie; no token attends beyond its sentence.
        num_heads: divides features.
        dropout: probability of dropping an attention weight; 0 outside training.
    """
    features = qkv.shape[-1] // 3
    if layout.num_tokens == 0:
        return qkv[:, :features]
    padded = to_slots(qkv, layout)
    blocks = []
    for bucket in layout.buckets:
        block = padded[bucket.slots].view(bucket.sentences, bucket.width, 3, num_heads, features // num_heads)
        q, k, v = block.permute(2, 0, 3, 1, 4)
        mask = None if bucket.mask is None else bucket.mask[:, None, None, :]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        blocks.append(mixed.transpose(1, 2).reshape(-1, features))
    return to_tokens(torch.cat(blocks), layout)


class SelfAttention(nn.Module):
    """BERT's attention sublayer MH(h) = W_O attend(W_QKV h), without its residual connection.

    Args:
        hidden_size: d_m, features in and out.
        num_heads: attention heads.
        dropout: probability of dropping an attention weight in training.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, h: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "tokens hidden"]:
        """Return MH(h)."""
        dropout = self.dropout if self.training else 0.0
        return self.output(attend(self.qkv(h), layout, self.num_heads, dropout))
