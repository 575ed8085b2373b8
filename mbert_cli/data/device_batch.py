"""Copies all tensors of a batch to a device in one copy: to start a copy to a GPU takes longer than a short copy."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import ARRAYS, Batch, Layout, as_tensors, to_device


def arrays_of(batch: Batch) -> list[np.ndarray]:
    """Return all arrays of a batch on the CPU and of its layouts, except `features`."""
    layouts = [array(layout) for layout in _layouts_of(batch.layout) for array in ARRAYS.values()]
    tensors = batch.token_ids, batch.token_types, batch.positions
    values = (each for mapping in (batch.labels, batch.soft, batch.places) for each in mapping.values())
    return [*layouts, *(tensor.numpy() for tensor in (*tensors, *values))]


def with_tensors(batch: Batch, tensors: Sequence[Tensor], device: torch.device) -> Batch:
    """Return a batch on a device.

    Args:
        batch: the batch on the CPU.
        tensors: copies of the arrays of `arrays_of` on the device.
        device: the device.
    """
    rest = iter(tensors)
    layout = _on(batch.layout, device)
    for each in _layouts_of(layout):
        each.loaded.update(zip(ARRAYS, [next(rest) for _ in ARRAYS], strict=True))
    return replace(
        batch,
        layout=layout,
        token_ids=next(rest),
        token_types=next(rest),
        positions=next(rest),
        labels={task: next(rest) for task in batch.labels},
        soft={task: next(rest) for task in batch.soft},
        places={task: next(rest) for task in batch.places},
        features=None if batch.features is None else to_device(batch.features, device),
        windows={task: _on(windows, device) for task, windows in batch.windows.items()},
    )


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device, given the batch on the CPU."""
    return with_tensors(batch, as_tensors(arrays_of(batch), device), device)


def _layouts_of(layout: Layout) -> list[Layout]:
    """Return the layouts whose tensors the model reads: that of the batch, and those of its segments for adapters.

    If there are adapters, each segment is padded. A single segment is the batch itself.
    """
    has_padded_segments = len(layout.segments) > 1 and layout.dummies and all(layout.dummies)
    return [layout, *(layout.segments if has_padded_segments else ())]


def _on(layout: Layout, device: torch.device) -> Layout:
    return Layout(layout.host_lengths, layout.segment_sentences, device, layout.numbers, layout.dummies)
