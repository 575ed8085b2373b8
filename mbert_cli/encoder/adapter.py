"""The contract between the encoder and its adapters: three sites, each the identity by default."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout


class Adapter(nn.Module):
    """One adaptation method for one task, across all layers.

    A subclass overrides the sites where it acts. Keyword-only parameters of its constructor are its options in a
    recipe. `formula` is the paper's count for one task, for people to read; `num_weights` is its value.
    """

    formula: ClassVar[str] = ""

    def num_weights(self) -> int:
        """Weights of one task by `formula`: without biases and LayerNorms, as the paper's Table 1 counts."""
        return 0

    def start_from(self, last_layer: nn.Module) -> None:
        """Take initial values from the encoder's last layer, once its checkpoint is loaded."""

    def after_attention(self, x: Float[Tensor, "tokens hidden"], layer: int) -> Float[Tensor, "tokens hidden"]:
        """Change the attention sublayer's output, before its residual connection and LayerNorm."""
        return x

    def after_feed_forward(
        self, x: Float[Tensor, "tokens hidden"], layer_input: Float[Tensor, "tokens hidden"], layer: int, layout: Layout
    ) -> Float[Tensor, "tokens hidden"]:
        """Change the feed-forward sublayer's output, before its residual connection and LayerNorm."""
        return x

    def on_top(self, x: Float[Tensor, "tokens hidden"], layout: Layout) -> Float[Tensor, "tokens hidden"]:
        """Change the last layer's output, before pooling."""
        return x


def adapters_at(site: str, adapters: Sequence[Sequence[Adapter]]) -> Sequence[Sequence[Adapter]]:
    """Keep the adapters that act at `site`, so that a site where none does costs nothing.

    Args:
        site: name of one of the contract's methods.
        adapters: those of each segment.
    """
    identity = getattr(Adapter, site)
    return [[adapter for adapter in own if getattr(type(adapter), site) is not identity] for own in adapters]


def apply_by_segment(
    apply: Callable[[Adapter, Tensor, int], Tensor],
    x: Float[Tensor, "tokens hidden"],
    layout: Layout,
    adapters: Sequence[Sequence[Adapter]],
) -> Float[Tensor, "tokens hidden"]:
    """Let the adapters of each segment act on that segment's tokens, in the order given.

    Args:
        apply: calls the site: (adapter, the segment's tokens, the segment's index) to the changed tokens.
        x: the whole stream.
        layout: says where the segments lie.
        adapters: those of each segment.
    """
    if not any(adapters):
        return x
    # split, not slices: its gradient is one concatenation, theirs a zero-filled stream each.
    parts = list(x.split(layout.segment_tokens))
    for index, own in enumerate(adapters):
        for adapter in own:
            parts[index] = apply(adapter, parts[index], index)
    return parts[0] if len(parts) == 1 else torch.cat(parts)
