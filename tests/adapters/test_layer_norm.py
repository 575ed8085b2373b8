import torch
from plain_bert import SHAPE, largest_difference, rescaled, stirred

from mbert_cli.adapters.layer_norm import LayerNorm


def alter(plain, norms):
    """Apply the task's LayerNorms to a plain encoder."""
    plain.embedding_norm = rescaled(plain.embedding_norm, norms.embedding_norm)
    for index, layer in enumerate(plain.layers):
        layer.attention_norm = rescaled(layer.attention_norm, norms.attention_norm[index])
        layer.output_norm = rescaled(layer.output_norm, norms.output_norm[index])


def test_packed_result_equals_an_encoder_of_other_layer_norms_sentence_by_sentence(encoder, plain):
    adapters = [stirred(LayerNorm(SHAPE), seed) for seed in (1, 2, 3)]
    for index, adapter in zip((0, 2, 3), adapters, strict=True):
        alter(plain[index], adapter)
    one, two, three = ([adapter] for adapter in adapters)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


def test_it_starts_as_the_identity():
    for name, parameter in LayerNorm(SHAPE).named_parameters():
        assert (parameter == (1 if name.endswith("scale") else 0)).all()


def test_it_has_two_values_per_feature_of_every_layer_norm(encoder):
    norms = [each for each in encoder.modules() if isinstance(each, torch.nn.LayerNorm)]
    assert sum(parameter.numel() for parameter in LayerNorm(SHAPE).parameters()) == len(norms) * 2 * 12
