import re
from pathlib import Path

import pytest
import torch
from components import built, components, every, every_pair_of_adapters
from plain_bert import SHAPE, stirred, stream
from typer.main import get_command

import mbert_cli
from mbert_cli.cli import app
from mbert_cli.encoder.folding import can_fold, fold
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.model.components import kinds

# Adapters that are completely folded into the weights, so that the folded encoder does not need them.
WHOLLY_FOLDED = {"lora", "ia3", "bitfit", "layer_norm"}


@pytest.fixture
def encoder() -> PackedEncoder:
    return stirred(PackedEncoder(SHAPE).eval())


def stirred_adapters(*each):
    return [stirred(built("adapters", kind, options, SHAPE), seed).eval() for seed, (kind, options) in enumerate(each)]


def states(encoder, adapters):
    packed = stream(segments=None)
    with torch.no_grad():
        return encoder(*packed, [adapters])


def snapshot(*modules):
    """Return everything that folding could change by mistake."""
    found = []
    for module in modules:
        found += [(name, value.clone(), value.dtype, value.requires_grad) for name, value in module.named_parameters()]
        found += [(name, part.training, getattr(part, "folded", None)) for name, part in module.named_modules()]
    return found


def same(one, two):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for left, right in zip(one, two, strict=True)
        for a, b in zip(left, right, strict=True)
    )


@every("adapters")
def test_a_folded_encoder_gives_the_same_states(encoder, kind, options):
    adapters = stirred_adapters((kind, options))
    expected = states(encoder, adapters)
    assert (states(encoder, []) - expected).abs().max() > 1e-2
    assert (states(fold(encoder, adapters), adapters) - expected).abs().max() <= 1e-5


@every_pair_of_adapters()
def test_a_folded_encoder_gives_the_same_states_with_two_adapters(encoder, pair):
    adapters = stirred_adapters(*pair)
    assert (states(fold(encoder, adapters), adapters) - states(encoder, adapters)).abs().max() <= 1e-5


def test_the_order_of_the_adapters_is_folded_too(encoder):
    adapters = stirred_adapters(("bitfit", {}), ("ia3", {}))
    expected = [states(encoder, order) for order in (adapters, adapters[::-1])]
    assert (expected[0] - expected[1]).abs().max() > 1e-2
    for order, wanted in zip((adapters, adapters[::-1]), expected, strict=True):
        assert (states(fold(encoder, order), order) - wanted).abs().max() <= 1e-5


@every("adapters")
def test_completely_folded_adapters_are_not_needed(encoder, kind, options):
    adapters = stirred_adapters((kind, options))
    alone = states(fold(encoder, adapters), [])
    difference = (alone - states(encoder, adapters)).abs().max().item()
    assert (difference <= 1e-5) is (kind in WHOLLY_FOLDED)
    assert difference <= 1e-5 or difference > 1e-2


@pytest.mark.parametrize(
    ("kinds", "foldable"),
    [
        ([], False),
        (["low_rank"], False),
        (["pal", "prefix", "top"], False),
        *(([kind], True) for kind in sorted(WHOLLY_FOLDED)),
        (["top", "lora"], True),
    ],
)
def test_adapters_at_linear_layers_and_layer_norms_can_be_folded(kinds, foldable):
    first = dict(reversed(components("adapters")))
    assert can_fold(stirred_adapters(*((kind, first[kind]) for kind in kinds))) is foldable


def test_the_guide_lists_the_adapters_that_are_completely_folded():
    page = (Path(mbert_cli.__file__).parent / "guide" / "adapters.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"^(.*) change linear operations\.", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", sentence)) == WHOLLY_FOLDED


def test_the_help_of_fold_names_no_adapters():
    """A list in the help would be wrong after the next adapter."""
    (option,) = [each for each in get_command(app).commands["predict"].params if each.name == "fold"]
    assert not set(re.findall(r"\w+", option.help)) & set(kinds("adapters"))


def test_layer_norms_of_a_houlsby_adapter_can_be_folded():
    assert can_fold(stirred_adapters(("houlsby", {"rank": 3, "train_layer_norms": True})))


@every("adapters")
@pytest.mark.parametrize("training", [False, True])
def test_folding_does_not_change_the_shared_encoder_and_the_adapters(encoder, kind, options, training):
    adapters = stirred_adapters((kind, options))
    for module in (encoder, *adapters):
        module.train(training)
    adapters[0].requires_grad_(False)
    before = snapshot(encoder, *adapters)
    folded = fold(encoder, adapters)
    assert same(before, snapshot(encoder, *adapters))
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert same(before, snapshot(encoder, *adapters))


@every("adapters")
def test_folding_is_the_same_with_and_without_gradients(encoder, kind, options):
    adapters = stirred_adapters((kind, options))
    one = fold(encoder, adapters)
    with torch.no_grad():
        two = fold(encoder, adapters)
    with torch.inference_mode():
        three = fold(encoder, adapters)
    for other in (two, three):
        for name, parameter in one.named_parameters():
            assert torch.equal(parameter, other.get_parameter(name)), name
    assert all(parameter.is_leaf for parameter in one.parameters())


@every("adapters")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_folded_encoder_keeps_its_data_type(encoder, kind, options, dtype):
    encoder.to(dtype)
    adapters = [adapter.to(dtype) for adapter in stirred_adapters((kind, options))]
    folded = fold(encoder, adapters)
    assert {parameter.dtype for parameter in folded.parameters()} == {dtype}
    assert {parameter.dtype for adapter in adapters for parameter in adapter.parameters()} == {dtype}


@every("adapters")
def test_in_float64_folding_is_exact(encoder, kind, options):
    encoder.double()
    adapters = [adapter.double() for adapter in stirred_adapters((kind, options))]
    difference = states(fold(encoder, adapters), adapters) - states(encoder, adapters)
    assert difference.abs().max() <= 1e-12


def test_dropout_of_an_adapter_in_training_is_not_folded(encoder):
    (adapter,) = stirred_adapters(("lora", {"rank": 2, "dropout": 0.5}))
    expected = states(encoder, [adapter])
    adapter.train()
    assert (states(fold(encoder, [adapter]), []) - expected).abs().max() <= 1e-5


def test_folding_nothing_copies_the_encoder(encoder):
    folded = fold(encoder, [])
    assert torch.equal(states(folded, []), states(encoder, []))
    assert not {p.data_ptr() for p in folded.parameters()} & {p.data_ptr() for p in encoder.parameters()}
