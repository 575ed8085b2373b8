"""Dummy sentences in a batch on a GPU, so that few different shapes occur."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch, Layout
from mbert_cli.encoder.padding import STATIC
from mbert_cli.model.multi_task_bert import MultiTaskBert


def is_static(device: torch.device) -> bool:
    """Return whether the training batches of a device get dummy sentences."""
    return device.type == "cuda"


def with_dummies_for(model: MultiTaskBert, batch: Batch) -> Batch:
    """Return a batch with dummy sentences; with adapters, each segment has its own. See `with_dummies`."""
    return with_dummies(batch, any(model.task(name).adapter_list() for name in batch.tasks))


def with_dummies(batch: Batch, each_segment: bool) -> Batch:
    """Return a batch whose numbers of tokens are rounded up as `STATIC` describes.

    The dummy sentences are at the end of the last segment, or of each segment. Their tokens are copies of the first
    token of the segment. The encoder reads them, but no head does. So losses and gradients stay the same.

    Args:
        batch: a batch on the CPU.
        each_segment: whether to pad each segment: needed with adapters, whose products are of single segments.
    """
    layout = batch.layout
    counts = layout.segment_tokens
    rounded = counts if each_segment else [*[0] * (len(counts) - 1), sum(counts)]
    sources, lengths, numbers, sentences, dummies = [], [], [], [], []
    for segment, tokens, end, number in zip(layout.segments, counts, np.cumsum(counts), rounded, strict=True):
        added = STATIC.added(number)
        sources += [np.arange(end - tokens, end), np.full(sum(added), end - tokens)]
        lengths.append(np.append(segment.host_lengths, np.array(added, np.int64)))
        numbers.append(np.append(segment.numbers, np.zeros(len(added), np.int64)))
        sentences.append(len(lengths[-1]))
        dummies.append(len(added))
    layout = Layout(np.concatenate(lengths), sentences, "cpu", np.concatenate(numbers), dummies)
    return _gathered(batch, np.concatenate(sources), layout)


def with_dummy_examples(batch: Batch, sides: int, examples: int) -> Batch:
    """Return a batch of one task with a certain number of examples and a rounded number of tokens.

    On each side, one dummy sentence of one token is added for each missing example. The dummy sentences of `STATIC`
    follow at the end. All tokens of dummies are copies of the first token.

    Args:
        batch: a batch of one task on the CPU, without labels.
        sides: number of sides of the examples.
        examples: number of examples of the result, at least that of the batch.
    """
    lengths = batch.layout.host_lengths.reshape(sides, -1)
    missing = examples - lengths.shape[1]
    rest = np.array(STATIC.added(batch.layout.num_tokens + sides * missing), np.int64)
    tokens = lengths.sum(1)
    first = np.zeros(missing, np.int64)
    parts = [
        part for end, own in zip(np.cumsum(tokens), tokens, strict=True) for part in (np.arange(end - own, end), first)
    ]
    ones = np.ones((sides, missing), np.int64)
    layout = Layout(np.append(np.hstack([lengths, ones]), rest), None, "cpu", None, [len(rest)])
    return _gathered(batch, np.concatenate([*parts, np.zeros(rest.sum(), np.int64)]), layout)


def rounded_up(tokens: int) -> int:
    """Return the number of tokens after rounding as `STATIC` describes."""
    return tokens + sum(STATIC.added(tokens))


def _gathered(batch: Batch, source: np.ndarray, layout: Layout) -> Batch:
    """Return a batch whose tokens are copies of tokens of another batch."""
    index = torch.from_numpy(source)

    def padded(x: Tensor) -> Tensor:
        return x.index_select(0, index)

    return replace(
        batch,
        token_ids=padded(batch.token_ids),
        token_types=padded(batch.token_types),
        positions=padded(batch.positions),
        layout=layout,
        features=None if batch.features is None else padded(batch.features),
    )
