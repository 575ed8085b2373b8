"""The adapters of a packed batch, each acting on the tokens of its own task."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter, Linear, Norm
from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.prefix import Prefix

AFFINE_SITES = ("before_linear", "after_linear", "after_norm")
"""The sites whose effect can be folded into the encoder's weights."""
INNER_SITES = (*AFFINE_SITES, "prefix", "after_attention", "after_feed_forward")
"""All sites below the encoder's last hidden states."""


def acts_at(adapter: type[Adapter], site: str) -> bool:
    """Whether adapters of a class act at a site of the contract."""
    return getattr(adapter, site) is not getattr(Adapter, site)


class SegmentAdapters:
    """For each segment of a layout the adapters of its task: what an encoder layer asks at its sites.

    A site where no adapter acts costs nothing.

    Args:
        layout: says where the segments lie.
        adapters: those of each segment, in the order they act; none at all by default.
        folded: the encoder holds what they do at its linear layers and LayerNorms; they leave those alone.
    """

    def __init__(self, layout: Layout, adapters: Sequence[Sequence[Adapter]] = (), folded: bool = False) -> None:
        self._layout = layout
        self._acting: dict[str, list[list[Adapter]]] = {}
        for site in (*INNER_SITES, "on_top"):
            acting = [[each for each in own if acts_at(type(each), site)] for own in adapters]
            if any(acting) and not (folded and site in AFFINE_SITES):
                self._acting[site] = acting

    def linear(self, module: nn.Linear, x: Float[Tensor, "tokens in"] | Pending, name: Linear, layer: int) -> Pending:
        """Return what a linear layer makes of x, with the adapters before and after it."""
        if "before_linear" not in self._acting and "after_linear" not in self._acting:
            return kernels.current().linear(x, module)
        x = x.tensor() if isinstance(x, Pending) else x
        x = self._apply("before_linear", x, lambda adapter, part, _: adapter.before_linear(part, name, layer))
        y = kernels.current().linear(x, module)
        if "after_linear" not in self._acting:
            return y
        inputs = self._split(x)
        return Pending(
            self._apply(
                "after_linear", y.tensor(), lambda adapter, part, i: adapter.after_linear(part, inputs[i], name, layer)
            )
        )

    def add_norm(
        self, x: Pending, residual: Float[Tensor, "tokens hidden"], module: nn.LayerNorm, name: Norm, layer: int
    ) -> Float[Tensor, "tokens hidden"]:
        """Return LN(residual + x), with the adapters after the LayerNorm."""
        return self.after_norm(kernels.current().add_norm(x, residual, module), name, layer)

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """See `Adapter.after_norm`."""
        return self._apply("after_norm", y, lambda adapter, part, _: adapter.after_norm(part, name, layer))

    def prefixes(self, layer: int) -> list[list[Prefix]]:
        """Return the prefixes of each segment; an empty list where there are none at all."""
        found = [[each.prefix(layer) for each in own] for own in self._acting.get("prefix", ())]
        return [[each for each in own if each is not None] for own in found]

    def after_attention(self, x: Pending, layer: int) -> Pending:
        """See `Adapter.after_attention`."""
        if "after_attention" not in self._acting:
            return x
        apply = lambda adapter, part, _: adapter.after_attention(part, layer)  # noqa: E731
        return Pending(self._apply("after_attention", x.tensor(), apply))

    def after_feed_forward(self, x: Pending, layer_input: Float[Tensor, "tokens hidden"], layer: int) -> Pending:
        """See `Adapter.after_feed_forward`."""
        if "after_feed_forward" not in self._acting:
            return x
        inputs, layouts = self._split(layer_input), self._layout.segments
        apply = lambda adapter, part, i: adapter.after_feed_forward(part, inputs[i], layer, layouts[i])  # noqa: E731
        return Pending(self._apply("after_feed_forward", x.tensor(), apply))

    def on_top(self, x: Float[Tensor, "tokens hidden"]) -> Float[Tensor, "tokens hidden"]:
        """See `Adapter.on_top`."""
        layouts = self._layout.segments
        return self._apply("on_top", x, lambda adapter, part, i: adapter.on_top(part, layouts[i]))

    def _split(self, x: Tensor) -> list[Tensor]:
        """Return the tokens of each segment."""
        if len(self._layout.segment_sentences) == 1:
            return [x]
        # split, not slices: its gradient is one concatenation, theirs a zero-filled stream each.
        return list(x.split(self._layout.segment_tokens))

    def _apply(self, site: str, x: Tensor, apply: Callable[[Adapter, Tensor, int], Tensor]) -> Tensor:
        """Let the adapters of each segment act on that segment's tokens: (adapter, tokens, segment) to tokens."""
        if site not in self._acting:
            return x
        parts = self._split(x)
        changed = False
        for index, own in enumerate(self._acting[site]):
            for adapter in own:
                before, parts[index] = parts[index], apply(adapter, parts[index], index)
                changed |= parts[index] is not before
        if not changed:
            return x
        return parts[0] if len(parts) == 1 else torch.cat(parts)
