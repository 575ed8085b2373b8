import torch
from plain_bert import SHAPE, Affine, largest_difference, stirred

from mbert_cli.adapters.bitfit import BitFit

NAMES = ("attention_output", "attention_norm", "intermediate", "output", "output_norm")


def moved(values: Affine, offset: torch.Tensor) -> Affine:
    return Affine(values.weight, values.bias + offset.detach().double())


def alter(plain, bitfit):
    """Add the task's offsets to every bias of a plain encoder."""
    plain.embedding_norm = moved(plain.embedding_norm, bitfit.embedding_norm)
    for layer, offsets in zip(plain.layers, bitfit.layers, strict=True):
        for name, bias in zip(("query", "key", "value"), offsets["qkv"].chunk(3), strict=True):
            setattr(layer, name, moved(getattr(layer, name), bias))
        for name in NAMES:
            setattr(layer, name, moved(getattr(layer, name), offsets[name]))


def test_packed_result_equals_an_encoder_of_other_biases_sentence_by_sentence(encoder, plain):
    adapters = [stirred(BitFit(SHAPE), seed) for seed in (1, 2, 3)]
    for index, bitfit in zip((0, 2, 3), adapters, strict=True):
        alter(plain[index], bitfit)
    one, two, three = ([bitfit] for bitfit in adapters)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


def test_it_has_a_bias_for_every_bias_of_the_encoder_but_the_poolers(encoder):
    biases = {name: bias.numel() for name, bias in encoder.named_parameters() if name.endswith(".bias")}
    del biases["pooler.bias"]
    assert sorted(biases.values()) == sorted(parameter.numel() for parameter in BitFit(SHAPE).parameters())


def test_it_starts_at_zero():
    assert not any(parameter.any() for parameter in BitFit(SHAPE).parameters())
