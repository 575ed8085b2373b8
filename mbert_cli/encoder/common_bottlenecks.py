"""Finds the adapters of a packed batch that are bottlenecks, so that one operation can compute those of all tasks."""

from collections.abc import Sequence

import numpy as np
import torch

from mbert_cli.batch import Layout
from mbert_cli.encoder.adapter import Adapter, Bottleneck, Sublayer
from mbert_cli.encoder.kernels.bottlenecks import Segments


def bottlenecks_at(site: Sublayer, layer: int, acting: Sequence[Sequence[Adapter]]) -> list[Bottleneck] | None:
    """Return the bottleneck of each task; None in prediction, or if the adapters are not bottlenecks of one kind.

    Prediction computes each task by itself, so that its results do not depend on the other tasks.

    Args:
        site: the site.
        layer: index of the layer, from 0.
        acting: the adapters of each segment that act at the site. Segments of dummy sentences at the end have none.
    """
    if not torch.is_grad_enabled():
        return None
    count = sum(map(bool, acting))
    if not all(len(adapters) == 1 for adapters in acting[:count]):
        return None
    each = [own.bottleneck(site, layer) for (own,) in acting[:count]]
    bottlenecks = [bottleneck for bottleneck in each if bottleneck is not None]
    kinds = {(bottleneck.activation, bottleneck.source) for bottleneck in bottlenecks}
    return bottlenecks if len(bottlenecks) == count and len(kinds) == 1 else None


def first_segments(layout: Layout, count: int) -> Segments:
    """Return the first `count` segments of a stream."""
    sentences = np.cumsum(layout.segment_sentences[:count])
    ends = torch.cat([layout.bounds[end : end + 1] for end in sentences])
    return Segments(ends, sum(layout.segment_tokens[:count]))
