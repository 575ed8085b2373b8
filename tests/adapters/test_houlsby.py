"""No reference package: `adapters`, which implements Houlsby adapters, needs an older version of transformers."""

from dataclasses import replace

import pytest
import torch
from plain_bert import SHAPE, gelu, largest_difference, linear, rescaled, stirred, stream, weights_of

from mbert_cli.adapters.houlsby import Houlsby
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError


def bottleneck(module):
    """x + V_D gelu(V_E x)."""
    down, up = weights_of(module.down), weights_of(module.up)
    return lambda x: x + linear(gelu(linear(x, down)), up)


def alter(plain, houlsby):
    """Add x + V_D gelu(V_E x) to a plain encoder after both sublayers, and the task-specific LayerNorms if any."""
    for index, layer in enumerate(plain.layers):
        layer.after_attention = bottleneck(houlsby.attention[index])
        after = bottleneck(houlsby.feed_forward[index])
        layer.after_feed_forward = lambda fed, h, after=after: after(fed)
        if houlsby.layer_norms is not None:
            layer.attention_norm = rescaled(layer.attention_norm, houlsby.layer_norms.attention_norm[index])
            layer.output_norm = rescaled(layer.output_norm, houlsby.layer_norms.output_norm[index])
    if houlsby.layer_norms is not None:
        plain.embedding_norm = rescaled(plain.embedding_norm, houlsby.layer_norms.embedding_norm)


@pytest.mark.parametrize("train_layer_norms", [False, True])
def test_packed_result_equals_the_formula_sentence_by_sentence(encoder, plain, train_layer_norms):
    adapters = [
        stirred(Houlsby(SHAPE, rank=rank, train_layer_norms=train_layer_norms), seed)
        for seed, rank in enumerate((3, 5, 1))
    ]
    for index, houlsby in zip((0, 2, 3), adapters, strict=True):
        alter(plain[index], houlsby)
    one, two, three = ([houlsby] for houlsby in adapters)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


def test_in_training_its_input_is_after_dropout_as_in_the_authors_code():
    class Reader(Adapter):
        def after_attention(self, x, layer):
            self.attended = x
            return x

        def after_feed_forward(self, x, layer_input, layer, layout):
            self.fed = x
            return x

    encoder, reader = stirred(PackedEncoder(replace(SHAPE, dropout=0.5))).train(), Reader()
    torch.manual_seed(0)
    encoder(*stream(segments=None), [[reader]])
    for read in (reader.attended, reader.fed):  # about half of the values of 45 tokens with 12 features
        assert (read == 0).double().mean().item() == pytest.approx(0.5, abs=5 * 0.5 / (45 * 12) ** 0.5)


def test_layers_and_sublayers_share_nothing():
    houlsby = Houlsby(SHAPE, rank=4)
    # A layer has two bottlenecks, each with two matrices and two biases.
    assert len({parameter.data_ptr() for parameter in houlsby.parameters()}) == SHAPE.num_layers * 2 * 4


def test_up_projections_start_at_zero_or_at_random():
    torch.manual_seed(0)
    shape = EncoderShape(num_layers=1)
    fresh, random = Houlsby(shape), Houlsby(shape, init_std=0.001)
    for part in (*fresh.attention, *fresh.feed_forward):
        assert not any(parameter.any() for parameter in (part.up.weight, part.up.bias, part.down.bias))
        assert part.down.weight.std().item() == pytest.approx(0.02, rel=0.01)
    for part in (*random.attention, *random.feed_forward):
        assert part.up.weight.std().item() == pytest.approx(0.001, rel=0.01)


def test_a_rank_above_the_hidden_size_is_refused():
    with pytest.raises(OptionError, match=r"^rank must be at most 12 \(the hidden size\), but is 13\.$"):
        Houlsby(SHAPE, rank=13)
