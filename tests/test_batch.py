import numpy as np
import pytest
import torch

from mbert_cli.batch import Layout, load_with, packed, to_slots, to_tokens, unpacked

RAGGED = [[1], [5], [3, 1, 4, 1, 5], [8, 9, 16, 17, 2], [70, 1, 33, 2, 70], [7] * 6]


def stream(layout: Layout, features: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(layout.num_tokens, features, generator=generator, dtype=torch.float64)


def padded_by_hand(x: torch.Tensor, lengths: list[int], members: list[int]) -> torch.Tensor:
    """Build the padded block of some sentences, one sentence after another."""
    block = torch.zeros(len(members), max(lengths[i] for i in members), x.shape[1], dtype=x.dtype)
    for row, sentence in enumerate(members):
        start = sum(lengths[:sentence])
        block[row, : lengths[sentence]] = x[start : start + lengths[sentence]]
    return block


def test_layout_has_the_start_of_each_sentence():
    layout = Layout([3, 1, 4])
    assert layout.num_sentences == 3
    assert layout.num_tokens == 8
    assert layout.lengths.tolist() == [3, 1, 4]
    assert layout.first_tokens.tolist() == [0, 3, 4]


def test_segments_are_the_layouts_of_the_tasks():
    layout = Layout([3, 1, 4, 2, 5], segments=[2, 0, 3])
    assert layout.segment_sentences == [2, 0, 3]
    assert layout.segment_tokens == [4, 0, 11]
    assert [segment.lengths.tolist() for segment in layout.segments] == [[3, 1], [], [4, 2, 5]]
    assert [segment.first_tokens.tolist() for segment in layout.segments] == [[0, 3], [], [0, 4, 6]]


def test_a_layout_without_segments_is_one_segment():
    layout = Layout([2, 3])
    assert layout.segment_tokens == [5]
    assert layout.segments == (layout,)


@pytest.mark.parametrize("segments", [[2], [1, 1, 1, 1], []])
def test_segments_that_do_not_cover_the_sentences_fail_an_assertion(segments):
    with pytest.raises(AssertionError, match="segments"):
        Layout([1, 2, 3], segments)


def test_a_sentence_without_tokens_fails_an_assertion():
    with pytest.raises(AssertionError, match="at least one token"):
        Layout([2, 0, 1])


def test_a_layout_of_no_sentences_has_no_tokens():
    layout = Layout([])
    assert (layout.num_sentences, layout.num_tokens) == (0, 0)
    assert layout.lengths.tolist() == []


def test_buckets_hold_sentences_of_similar_length_shortest_first():
    # Up to 8 tokens, up to 16, up to 128: the widths are those of the longest sentence in each.
    layout = Layout([5, 70, 8, 12, 90, 9])
    assert [(bucket.sentences, bucket.width) for bucket in layout.buckets] == [(2, 8), (2, 12), (2, 90)]
    assert layout.bucket_slots == [16, 24, 180]
    assert layout.buckets[0].mask.tolist() == [[True] * 5 + [False] * 3, [True] * 8]
    assert layout.buckets[1].mask.tolist() == [[True] * 12, [True] * 9 + [False] * 3]


def test_a_bucket_of_equal_lengths_needs_no_mask():
    assert [bucket.mask for bucket in Layout([7, 7, 7]).buckets] == [None]


@pytest.mark.parametrize("lengths", RAGGED)
def test_less_than_half_of_the_slots_of_long_sentences_is_padding(lengths):
    for bucket in Layout(lengths).buckets:
        if bucket.width > 8 and bucket.mask is not None:
            assert 2 * bucket.mask.sum(dim=1).min() > bucket.width


@pytest.mark.parametrize(
    ("lengths", "members"),
    [([3, 1, 4], [[0, 1, 2]]), ([12, 2, 20, 8, 9, 17], [[1, 3], [0, 4], [2, 5]])],
)
def test_slots_are_the_padded_blocks_of_the_buckets(lengths, members):
    layout = Layout(lengths)
    x = stream(layout)
    blocks = to_slots(x, layout).split(layout.bucket_slots)
    for block, own in zip(blocks, members, strict=True):
        expected = padded_by_hand(x, lengths, own)
        assert torch.equal(block.view(expected.shape), expected)


@pytest.mark.parametrize("lengths", RAGGED)
def test_padding_is_zero_even_next_to_infinite_values(lengths):
    layout = Layout(lengths)
    slots = to_slots(torch.full((layout.num_tokens, 2), float("inf")), layout)
    assert int(slots.isinf().all(dim=1).sum()) == sum(lengths)
    assert int((slots == 0).all(dim=1).sum()) == sum(layout.bucket_slots) - sum(lengths)


@pytest.mark.parametrize("lengths", RAGGED)
def test_to_tokens_inverts_to_slots(lengths):
    layout = Layout(lengths)
    x = stream(layout)
    assert torch.equal(to_tokens(to_slots(x, layout), layout), x)


@pytest.mark.parametrize("lengths", RAGGED)
def test_to_slots_and_to_tokens_are_adjoint(lengths):
    layout = Layout(lengths)
    x = stream(layout)
    y = torch.randn(sum(layout.bucket_slots), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose((to_slots(x, layout) * y).sum(), (x * to_tokens(y, layout)).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lengths", [[1], [3, 1, 2], [9, 2, 10]])
@pytest.mark.parametrize("move", [to_slots, to_tokens])
def test_gradients_equal_finite_differences(move, lengths):
    layout = Layout(lengths)
    rows = layout.num_tokens if move is to_slots else sum(layout.bucket_slots)
    x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: move(value, layout), x)
    assert torch.autograd.gradgradcheck(lambda value: move(value, layout), x)


def test_moving_does_not_change_its_input():
    layout = Layout([3, 1])
    x = stream(layout)
    before = x.clone()
    to_slots(x, layout).zero_()
    assert torch.equal(x, before)


def test_lengths_can_be_an_array():
    assert Layout(np.array([2, 3], dtype=np.int32)).first_tokens.tolist() == [0, 2]


def test_at_most_half_of_a_block_of_long_texts_is_padding():
    lengths = [1030, 8192, 3000, 100_000, 5000]
    for bucket in Layout(lengths).buckets:
        assert bucket.mask is None or bucket.mask.float().mean() >= 0.5


def test_arrays_of_all_types_share_one_buffer_and_become_views_of_it():
    arrays = [
        np.arange(5),
        np.array([1.5, -2.0, 7.25], np.float32),
        np.array([[1, -2], [3, 4], [5, 6]], np.int32),
        np.array([True, False, True]),
        np.empty((0, 2), np.int64),
        np.array([1 << 62]),
    ]
    buffer = torch.from_numpy(packed(arrays))
    assert buffer.dtype == torch.int32
    tensors = unpacked(buffer, arrays)
    for array, tensor in zip(arrays, tensors, strict=True):
        assert torch.equal(tensor, torch.from_numpy(array))
        assert tensor.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()


def test_a_layout_and_its_batch_reach_a_gpu_in_one_copy(monkeypatch):
    """The copy stays on the CPU here."""
    names, copies = ("lengths", "first_tokens", "bounds", "sentence_of_token", "sentence_bounds"), []
    expected = {name: getattr(Layout([3, 1, 4]), name) for name in names}
    monkeypatch.setattr("mbert_cli.batch.to_device", lambda tensor, _: copies.append(tensor) or tensor)
    layout = Layout([3, 1, 4], device="cuda", numbers=np.array([0, 9, 20]))
    (ids,) = load_with(layout, [np.arange(8)])
    assert torch.equal(ids, torch.arange(8))
    for name in names:
        assert torch.equal(getattr(layout, name), expected[name])
    assert layout.rows.tolist() == [0, 1, 2, 9, 20, 21, 22, 23]
    assert len(copies) == 1
