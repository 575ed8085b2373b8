"""Gradient checkpointing keeps fewer activations, and gives the same bits."""

from dataclasses import replace

import pytest
import torch
from components import built
from plain_bert import Stream, stirred

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.dropout import keyed
from mbert_cli.encoder.families import family, model_types
from mbert_cli.encoder.packed_encoder import PackedEncoder

LENGTHS = [40, 1, 17, 16, 33, 2, 60]
SIZES = {"vocab_size": 40, "hidden_size": 64, "num_layers": 3, "num_heads": 2, "intermediate_size": 48}


def encoder_of(model_type):
    shape = replace(family(model_type).defaults, **SIZES, dropout=0.2, attention_dropout=0.1)
    return stirred(PackedEncoder(shape), std=0.15)


def stream():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 40, (sum(LENGTHS),), generator=generator)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    return Stream(ids, torch.zeros_like(ids), positions, Layout(LENGTHS, [3, len(LENGTHS) - 3]))


def gradients(encoder, adapters, name, recomputes):
    """Return the states, the gradient of a part of their sum on the adapters, and the gradients of the whole sum."""
    encoder.recomputes = recomputes
    modules = [encoder, *(each for own in adapters for each in own)]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    with kernels.using(name), keyed(11, 5):
        states = encoder(*stream(), adapters)
    # Two backward passes through one graph, as the balancing PCGrad has them.
    of_adapters = [parameter for own in adapters for each in own for parameter in each.parameters()]
    part = torch.autograd.grad(states[:40].sum(), of_adapters, retain_graph=True, allow_unused=True)
    states.square().sum().backward()
    whole = [parameter.grad for parameter in parameters]
    for module in modules:
        module.zero_grad()
    return [states, *(each if each is None else each.to_dense().clone() for each in [*part, *whole])]


@pytest.mark.parametrize("name", kernels.NAMES)
@pytest.mark.parametrize("model_type", model_types())
def test_gradients_with_dropout_have_the_same_bits(model_type, name):
    if name == "fused":
        pytest.importorskip("numba")
    encoder = encoder_of(model_type)
    kinds = [("pal", {"rank": 8, "heads": 2}), ("lora", {"rank": 2, "dropout": 0.3})]
    if model_type != "deberta-v2":  # no prefixes
        kinds.append(("prefix", {"length": 3}))
    adapters = [[stirred(built("adapters", *each, encoder.shape), std=0.1).train() for each in kinds], []]
    encoder.train()
    kept, again = (gradients(encoder, adapters, name, recomputes) for recomputes in (False, True))
    assert sum(each is not None and bool(each.any()) for each in kept) > 20
    for expected, gradient in zip(kept, again, strict=True):
        assert (expected is None) == (gradient is None)
        assert expected is None or torch.equal(expected, gradient)


@pytest.mark.parametrize("name", kernels.NAMES)
def test_the_graph_keeps_the_inputs_of_layers_instead_of_their_activations(name):
    if name == "fused":
        pytest.importorskip("numba")
    encoder = encoder_of("bert").train()

    def kept(recomputes):
        encoder.recomputes, sizes = recomputes, {}

        def pack(tensor):
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with kernels.using(name), keyed(11, 5), torch.autograd.graph.saved_tensors_hooks(pack, lambda each: each):
            states = encoder(*stream())
        parameters = {parameter.data_ptr() for parameter in encoder.parameters()}
        del states
        return sum(size for pointer, size in sizes.items() if pointer not in parameters)

    # Of three layers, only the last one keeps its activations.
    assert kept(recomputes=True) < kept(recomputes=False) / 2
