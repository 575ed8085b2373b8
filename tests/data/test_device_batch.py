"""Copies of batches on a device."""

import numpy as np
import pytest
import torch

from mbert_cli.batch import Batch, Layout, as_tensor, capturing
from mbert_cli.data.device_batch import arrays_of, moved, with_tensors
from mbert_cli.encoder.dropout import draw_key, keyed

CPU = torch.device("cpu")


def batch_of(dummies):
    layout = Layout([2, 3, 1, 4], [2, 2], "cpu", np.array([20, 40, 60, 80]), dummies)
    labels = {"a": torch.tensor([0.5]), "b": torch.tensor([1.5, 2.5])}
    return Batch(
        token_ids=torch.arange(10), token_types=torch.arange(10) % 2, positions=torch.arange(10) + 5, layout=layout,
        tasks=("a", "b"), labels=labels, soft={"b": torch.ones(2, 3)}, places={"a": torch.tensor([7])},
        features=torch.ones(10, 2), windows={"b": Layout([1, 1])},
    )  # fmt: skip


@pytest.mark.parametrize("dummies", [(), (0, 1), (1, 1)])
def test_a_moved_batch_has_the_same_values(dummies):
    batch = batch_of(dummies)
    copy = moved(batch, CPU)
    assert copy.tasks == batch.tasks
    for name in ("token_ids", "token_types", "positions", "features"):
        assert torch.equal(getattr(copy, name), getattr(batch, name))
    for name in ("labels", "soft", "places"):
        own, other = getattr(copy, name), getattr(batch, name)
        assert own.keys() == other.keys()
        assert all(torch.equal(own[task], other[task]) for task in own)
    assert copy.windows["b"].host_lengths.tolist() == [1, 1]
    assert copy.layout.dummies == dummies
    for one, other in zip((copy.layout, *copy.layout.segments), (batch.layout, *batch.layout.segments), strict=True):
        for name in ("lengths", "first_tokens", "bounds", "sentence_of_token", "sentence_bounds", "rows"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    assert copy.layout.rows.tolist() == [20, 21, 40, 41, 42, 60, 80, 81, 82, 83]


def test_the_layouts_of_padded_segments_are_part_of_the_copy():
    """A CUDA graph reads them. A capture cannot copy them later, when an adapter needs them."""
    for dummies, copied in (((0, 1), False), ((1, 1), True)):
        batch = batch_of(dummies)
        on_device = with_tensors(batch, [torch.from_numpy(array) for array in arrays_of(batch)], CPU)
        assert on_device.layout.loaded
        assert [bool(segment.loaded) for segment in on_device.layout.segments] == [copied, copied]


def test_a_capture_refuses_copies_and_keys_from_the_cpu():
    token = capturing.set(True)
    try:
        with pytest.raises(RuntimeError, match="cannot contain a copy from the CPU"):
            as_tensor(np.arange(3), "cpu")
        with keyed(1, 2), pytest.raises(RuntimeError, match="cannot contain the key of a site as a number"):
            draw_key()
    finally:
        capturing.reset(token)
