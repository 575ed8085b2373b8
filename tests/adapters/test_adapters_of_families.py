"""Every adapter on an encoder of every family."""

import functools
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from components import CHANGING_FROM_THE_START, built, components, name
from family_models import CASE_OF_FAMILY, reference_encoder

from mbert_cli.batch import Layout
from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.encoder.folding import can_fold, fold
from mbert_cli.errors import RecipeError

LENGTHS = [3, 9, 1, 17, 2, 30]


CASES = [
    pytest.param(family, *adapter, id=f"{family}-{name(*adapter)}")
    for family in CASE_OF_FAMILY
    for adapter in components("adapters")
    if (family, adapter[0]) != ("deberta-v2", "prefix")  # refused, see below
]
every_adapter_of_every_family = pytest.mark.parametrize(("encoder", "kind", "options"), CASES, indirect=["encoder"])


@pytest.fixture
def encoder(request):
    """An encoder of a family, with random weights and without dropout. All tests share it."""
    return encoder_of(request.param)


# A module fixture would build an encoder for every test, because pytest does not group these parameters.
@functools.cache
def encoder_of(family):
    sizes = {"num_attention_heads": 4, "hidden_size": 16, "intermediate_size": 24}
    names = {"num_attention_heads": "n_heads", "hidden_size": "dim", "intermediate_size": "hidden_dim"}
    if family == "distilbert":
        sizes = {names[key]: value for key, value in sizes.items()}
    with TemporaryDirectory() as folder:
        reference_encoder(CASE_OF_FAMILY[family], **sizes).save_pretrained(folder)
        return load_encoder(Path(folder), read_shape(Path(folder)))[0].eval()


@functools.cache
def states_without_adapters(encoder):
    return states(encoder)


def states(encoder, *adapters):
    ids = torch.randint(2, 50, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    with torch.no_grad():
        return encoder(ids, torch.zeros_like(ids), positions, Layout(LENGTHS), [list(adapters)])


def fresh(kind, options, encoder):
    adapter = built("adapters", kind, options, encoder.shape)
    adapter.start_from(encoder)
    return adapter.eval()


def stirred(adapter):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return adapter


@every_adapter_of_every_family
def test_a_new_adapter_leaves_the_encoder_exactly_unchanged(encoder, kind, options):
    unchanged = (kind, options) not in CHANGING_FROM_THE_START
    assert torch.equal(states(encoder, fresh(kind, options, encoder)), states_without_adapters(encoder)) is unchanged


@every_adapter_of_every_family
def test_a_trained_adapter_changes_the_hidden_states(encoder, kind, options):
    adapter = stirred(fresh(kind, options, encoder))
    assert (states(encoder, adapter) - states_without_adapters(encoder)).abs().amax(1).min() > 1e-3


@every_adapter_of_every_family
def test_an_adapter_that_is_folded_into_the_weights_has_the_same_effect(encoder, kind, options):
    adapter = stirred(fresh(kind, options, encoder))
    if can_fold([adapter]):
        folded = fold(encoder, [adapter])
        assert (states(folded, adapter) - states(encoder, adapter)).abs().max() <= 1e-4


@every_adapter_of_every_family
def test_the_formula_counts_the_weights(encoder, kind, options):
    adapter = fresh(kind, options, encoder)
    layers, halves = encoder.shape.num_layers, 2 if encoder.shape.gated else 1
    d_m, d_ff, d_e = encoder.shape.hidden_size, encoder.shape.intermediate_size, encoder.shape.embedding_width
    if kind == "bitfit":
        assert adapter.num_weights() == layers * (7 * d_m + halves * d_ff) + d_e
    elif kind == "layer_norm":
        assert adapter.num_weights() == 4 * layers * d_m + 2 * d_e
    elif kind == "top":
        assert adapter.num_weights() == 4 * d_m**2 + (halves + 1) * d_m * d_ff


@pytest.mark.parametrize("encoder", ["deberta-v2"], indirect=True)
def test_a_prefix_in_disentangled_attention_is_refused_with_the_reason(encoder):
    with pytest.raises(RecipeError, match=r"kind cannot be prefix .* is disentangled, and a prefix has no distances"):
        built("adapters", "prefix", {"length": 3}, encoder.shape)


@pytest.mark.parametrize("encoder", ["deberta-v2"], indirect=True)
def test_segments_with_different_adapters_have_their_own_queries_and_keys_of_distances(encoder):
    adapters = [stirred(fresh("lora", {"rank": rank}, encoder)) for rank in (2, 3)]
    ids = torch.randint(2, 50, (40,), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(length) for length in (20, 12, 8)])
    inputs = torch.zeros_like(ids), positions
    with torch.no_grad():
        together = encoder(ids, *inputs, Layout([20, 12, 8], [1, 2]), [[each] for each in adapters])
        first = encoder(ids[:20], inputs[0][:20], positions[:20], Layout([20]), [[adapters[0]]])
        others = encoder(ids[20:], inputs[0][20:], positions[20:], Layout([12, 8]), [[adapters[1]]])
    assert (together - torch.cat([first, others])).abs().max() <= 1e-5
