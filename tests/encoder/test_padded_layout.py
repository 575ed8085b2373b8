import pytest
import torch
from components import built, every
from plain_bert import SHAPE, stirred

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.padded_layout import PaddedLayout
from mbert_cli.encoder.segment_adapters import SegmentAdapters

LENGTHS = torch.tensor([3, 7, 1, 2])


@pytest.mark.parametrize("width", [7, 9])
@every("adapters")
def test_padded_sentences_have_the_states_of_packed_sentences(kind, options, width):
    encoder = stirred(PackedEncoder(SHAPE), std=0.3).eval().double()
    adapter = stirred(built("adapters", kind, options, SHAPE), 1, 0.3).eval().double()
    mask = torch.arange(width) < LENGTHS[:, None]
    ids = torch.randint(0, SHAPE.vocab_size, mask.shape, generator=torch.Generator().manual_seed(0))
    types, positions = torch.zeros_like(ids), torch.arange(width).expand_as(ids)
    layout = PaddedLayout(mask)
    sites = SegmentAdapters(layout, [[adapter]])
    with torch.no_grad():
        with kernels.using("padded"):
            h = encoder.layers_over(ids.flatten(), types.flatten(), positions.flatten(), layout, sites)
            padded = sites.on_top(h).unflatten(0, mask.shape)[mask]
        packed = encoder(ids[mask], types[mask], positions[mask], Layout(LENGTHS.numpy()), [[adapter]])
    assert torch.allclose(padded, packed, atol=1e-10)


def test_a_padded_layout_is_one_segment():
    layout = PaddedLayout(torch.ones(4, 9, dtype=torch.bool))
    assert layout.segments == (layout,)
    assert (layout.segment_sentences, layout.segment_tokens) == ([4], [36])
