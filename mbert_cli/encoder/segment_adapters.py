"""The adapters of a packed batch. Each adapter acts on the tokens of its task."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter, Linear, Norm, Sublayer
from mbert_cli.encoder.common_bottlenecks import bottlenecks_at, first_segments
from mbert_cli.encoder.dropout import numbered
from mbert_cli.encoder.kernels import Pending
from mbert_cli.encoder.kernels.bottlenecks import Segments
from mbert_cli.encoder.padded_layout import AnyLayout
from mbert_cli.encoder.prefix import Prefix

AFFINE_SITES = ("before_linear", "after_linear", "after_norm")
"""The sites that can be folded into the encoder's weights."""
INNER_SITES = (*AFFINE_SITES, "prefix", "after_attention", "after_feed_forward")
"""All sites below the encoder's last hidden states."""
_MOST_ROWS = 1 << 20  # of a table of distances


def acts_at(adapter: type[Adapter], site: str) -> bool:
    """Return whether a class of adapters overrides a site."""
    return getattr(adapter, site) is not getattr(Adapter, site)


class SegmentAdapters:
    """The adapters of the segments of a layout. Each acts on the tokens of its segment.

    A site that no adapter overrides costs nothing.

    Args:
        layout: positions of the segments in the stream.
        adapters: the adapters of each segment, in the order in which they act; none by default.
        folded: the sites at linear layers and LayerNorms are already folded into the encoder, so skip them.
    """

    def __init__(self, layout: AnyLayout, adapters: Sequence[Sequence[Adapter]] = (), folded: bool = False) -> None:
        self._layout, self._adapters, self._folded = layout, adapters, folded
        self._acting: dict[str, list[list[Adapter]]] = {}
        for site in (*INNER_SITES, "on_top"):
            acting = [[adapter for adapter in segment if acts_at(type(adapter), site)] for segment in adapters]
            if any(acting) and not (folded and site in AFFINE_SITES):
                self._acting[site] = acting

    def linear(self, module: nn.Linear, x: Float[Tensor, "tokens in"] | Pending, name: Linear, layer: int) -> Pending:
        """Apply a linear layer to x, with the adapters before and after it."""
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

    def linear_of_each_segment(
        self, module: nn.Linear, x: Float[Tensor, "rows in"], first: int, name: Linear, layer: int
    ) -> Float[Tensor, "segments rows out"]:
        """Apply a linear layer to the same x with the adapters of each segment; one result if no adapter acts there.

        The number of the first row of x is `first`; see `encoder.dropout`.
        """
        if "before_linear" not in self._acting and "after_linear" not in self._acting:
            return kernels.current().linear(x, module).tensor()[None]
        count = len(self._adapters)
        numbers = first + _MOST_ROWS * np.arange(count)
        layout = Layout([len(x)] * count, [1] * count, x.device, numbers)
        each = SegmentAdapters(layout, self._adapters, self._folded)
        return each.linear(module, x.repeat(count, 1), name, layer).tensor().unflatten(0, (count, len(x)))

    def add_norm(
        self, x: Pending, residual: Float[Tensor, "tokens hidden"], module: nn.LayerNorm, name: Norm, layer: int
    ) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
        """Return LN(residual + x) with the adapters after the LayerNorm twice; see `plain.add_norm`."""
        y, beside = kernels.current().add_norm(x, residual, module)
        changed = self.after_norm(y, name, layer)
        return (y, beside) if changed is y else (changed, changed)

    def add_then_norm(
        self, x: Pending, residual: Float[Tensor, "tokens hidden"], module: nn.LayerNorm, name: Norm, layer: int
    ) -> tuple[Float[Tensor, "tokens hidden"], Float[Tensor, "tokens hidden"]]:
        """Return LN(residual + x) with the adapters after the LayerNorm, and residual + x."""
        y, total = kernels.current().add_then_norm(x, residual, module)
        return self.after_norm(y, name, layer), total

    def after_norm(self, y: Float[Tensor, "tokens hidden"], name: Norm, layer: int) -> Float[Tensor, "tokens hidden"]:
        """See `Adapter.after_norm`."""
        return self._apply("after_norm", y, lambda adapter, part, _: adapter.after_norm(part, name, layer))

    def prefixes(self, layer: int) -> list[list[Prefix]]:
        """Return the prefixes of each segment; an empty list if no segment has one."""
        prefixes = [[adapter.prefix(layer) for adapter in segment] for segment in self._acting.get("prefix", ())]
        return [[prefix for prefix in segment if prefix is not None] for segment in prefixes]

    def after_attention(self, x: Pending, layer: int) -> Pending:
        """See `Adapter.after_attention`."""
        if "after_attention" not in self._acting:
            return x
        y = x.tensor()
        together = self._bottlenecks("after_attention", y, None, layer)
        if together is not None:
            return Pending(together)
        return Pending(self._apply("after_attention", y, lambda adapter, part, _: adapter.after_attention(part, layer)))

    def after_feed_forward(self, x: Pending, layer_input: Float[Tensor, "tokens hidden"], layer: int) -> Pending:
        """See `Adapter.after_feed_forward`."""
        if "after_feed_forward" not in self._acting:
            return x
        y = x.tensor()
        together = self._bottlenecks("after_feed_forward", y, layer_input, layer)
        if together is not None:
            return Pending(together)
        inputs, layouts = self._split(layer_input), self._layout.segments
        apply = lambda adapter, part, i: adapter.after_feed_forward(part, inputs[i], layer, layouts[i])  # noqa: E731
        return Pending(self._apply("after_feed_forward", y, apply))

    def on_top(self, x: Float[Tensor, "tokens hidden"]) -> Float[Tensor, "tokens hidden"]:
        """See `Adapter.on_top`."""
        layouts = self._layout.segments
        return self._apply("on_top", x, lambda adapter, part, i: adapter.on_top(part, layouts[i]))

    @cached_property
    def _segments(self) -> Segments:
        return first_segments(cast(Layout, self._layout), sum(map(bool, self._adapters)))

    def _bottlenecks(self, site: Sublayer, x: Tensor, layer_input: Tensor | None, layer: int) -> Tensor | None:
        """Apply the bottlenecks of all segments at once; None if this is not possible.

        The site after attention has no `layer_input`, so a bottleneck there reads the output; see `adapter.Bottleneck`.
        """
        each = bottlenecks_at(site, layer, self._acting[site])
        if each is None or len(each) != sum(map(bool, self._adapters)):
            return None
        if not isinstance(self._layout, Layout) or 0 in self._layout.segment_sentences:
            return None
        inputs = x if each[0].source == "output" else layer_input
        assert inputs is not None, f"a bottleneck {site} cannot read the input of the layer"
        pairs = [(bottleneck.down, bottleneck.up) for bottleneck in each]
        result: Tensor | None = kernels.current().add_bottlenecks(x, inputs, pairs, each[0].activation, self._segments)
        return result

    def _split(self, x: Tensor) -> list[Tensor]:
        """Return the tokens of each segment."""
        if len(self._layout.segment_sentences) == 1:
            return [x]
        # Not slices: the gradient of split() is one concatenation, that of every slice is a zero-filled stream.
        return list(x.split(self._layout.segment_tokens))

    def _apply(self, site: str, x: Tensor, apply: Callable[[Adapter, Tensor, int], Tensor]) -> Tensor:
        """Apply the adapters of each segment to its tokens; `apply` maps (adapter, tokens, segment) to tokens."""
        if site not in self._acting:
            return x
        parts, layouts = self._split(x), self._layout.segments
        changed = False
        for index, adapters in enumerate(self._acting[site]):
            with numbered(partial(getattr, layouts[index], "rows")):
                for adapter in adapters:
                    before, parts[index] = parts[index], apply(adapter, parts[index], index)
                    changed |= parts[index] is not before
        if not changed:
            return x
        return parts[0] if len(parts) == 1 else torch.cat(parts)
