import numpy as np
import pytest
import torch
from components import built
from plain_bert import SHAPE, Stream, stirred

from mbert_cli.batch import Layout
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.padding import Padding


def layout_of(*segments):
    return Layout([length for own in segments for length in own], [len(own) for own in segments])


LONG, SHORT = [20] * 30, [7, 9]


@pytest.mark.parametrize(
    ("segments", "by_segment", "tokens"),
    [
        ([SHORT, SHORT], True, [16, 16]),
        ([LONG], False, [600, 40]),
        ([LONG], True, [640]),
        ([LONG, SHORT, LONG], True, [640, 16, 640, 48]),
        ([LONG, [], SHORT], True, [640, 0, 16, 48]),
        ([LONG, LONG], False, [600, 600, 16]),
        ([[64] * 10, [32] * 20], True, [640, 640]),
        ([], True, []),
    ],
)
def test_long_streams_and_segments_are_padded_to_multiples_of_64(segments, by_segment, tokens):
    layout = layout_of(*segments)
    padding = Padding(layout, by_segment)
    assert padding.layout.segment_tokens == tokens
    assert padding.more_segments == len(tokens) - len(segments)
    x = torch.arange(layout.num_tokens * 2.0).view(-1, 2)
    padded = padding.pad(x)
    assert len(padded) == padding.layout.num_tokens
    assert torch.equal(padding.unpad(padded), x)
    # The sentences of a segment come first, in their order.
    for own, parts in zip(layout.segments, padding.layout.segments, strict=False):
        assert np.array_equal(parts.host_lengths[: own.num_sentences], own.host_lengths)


def test_padding_gets_no_gradient():
    padding = Padding(layout_of(LONG, SHORT), segments=True)
    h = torch.randn(padding.layout.num_tokens, 3, requires_grad=True)
    dy = torch.randn(616, 3)
    padding.unpad(h).backward(dy)
    assert torch.equal(padding.unpad(h.grad), dy)
    assert (h.grad != 0).any(1).sum() == 616


@pytest.mark.parametrize("kind", ["top", "pal", "prefix", "houlsby"])
def test_padding_changes_no_result(kind):
    """States and gradients of a long stream equal those of short streams."""
    encoder = stirred(PackedEncoder(SHAPE), std=0.3).eval().double()
    options = {"pal": {"rank": 6}, "houlsby": {"rank": 3}}.get(kind, {})
    adapters = [[stirred(built("adapters", kind, options, SHAPE), seed, 0.3).double()] for seed in (1, 2)]
    sizes = [[20] * 27, [11] * 50 + [5]]
    ids = torch.randint(0, SHAPE.vocab_size, (sum(map(sum, sizes)),), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(n) for own in sizes for n in own])
    weights = torch.randn(len(ids), SHAPE.hidden_size, dtype=torch.float64)
    packed = Stream(ids, torch.zeros_like(ids), positions, layout_of(*sizes))
    assert Padding(packed.layout, segments=True).layout.segment_tokens == [576, 576]
    together = encoder(*packed, adapters)
    (together * weights).sum().backward()
    found = [each.grad.clone() for each in encoder.parameters() if each.grad is not None]
    encoder.zero_grad()
    start = 0
    for own, lengths in zip(adapters, sizes, strict=True):
        for length in lengths:
            part = slice(start, start + length)
            alone = encoder(ids[part], torch.zeros_like(ids[part]), positions[part], Layout([length]), [own])
            assert torch.allclose(alone, together[part], atol=1e-12)
            (alone * weights[part]).sum().backward()
            start += length
    expected = [each.grad for each in encoder.parameters() if each.grad is not None]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-8)
