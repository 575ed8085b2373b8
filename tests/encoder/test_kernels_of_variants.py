"""Fused kernels for rotary positions, windows, gates, LayerNorms first and missing biases equal PyTorch operations."""

from dataclasses import replace

import pytest
import torch
from components import built, every
from plain_bert import Stream, stirred
from torch import nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.families import family
from mbert_cli.encoder.kernels import Gated, Pending, plain
from mbert_cli.encoder.packed_encoder import PackedEncoder

fused = pytest.importorskip("mbert_cli.encoder.kernels.fused")
SIZES = {"vocab_size": 40, "hidden_size": 64, "num_layers": 4, "num_heads": 2, "intermediate_size": 48}
LENGTHS = [40, 1, 17, 16, 33, 2, 100]
FAMILIES = ("modernbert", "nomic_bert", "gte")


def encoder_of(name, **changes):
    shape = replace(family(name).defaults, **SIZES, dropout=0.0, attention_dropout=0.0, **changes)
    return stirred(PackedEncoder(shape), std=0.15).eval()


def stream(lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 40, (sum(lengths),), generator=generator)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return Stream(ids, torch.zeros_like(ids), positions, Layout(lengths, [3, 0, len(lengths) - 3]))


def states_and_gradients(name, encoder, adapters=(), lengths=LENGTHS):
    weights = torch.randn(sum(lengths), 64, generator=torch.Generator().manual_seed(7))
    modules = [encoder, *(each for own in adapters for each in own)]
    with kernels.using(name):
        with torch.no_grad():
            alone = encoder(*stream(lengths), adapters)
        h = encoder(*stream(lengths), adapters)
        (h * weights).sum().backward()
    gradients = [parameter.grad for module in modules for parameter in module.parameters()]
    gradients = [torch.zeros(()) if each is None else each.to_dense().clone() for each in gradients]
    for module in modules:
        module.zero_grad()
    return alone, h.detach(), gradients


def assert_equal(theirs, ours):
    for states in ours[:2]:
        assert (states - theirs[0]).abs().max() <= 1e-5
    largest = max(each.norm() for each in theirs[2])
    for expected, gradient in zip(theirs[2], ours[2], strict=True):
        assert (gradient - expected).norm() <= 1e-4 * max(expected.norm(), 1e-3 * largest)


@pytest.mark.parametrize("name", FAMILIES)
def test_states_and_gradients_equal_those_of_torch_without_falling_back(name, monkeypatch):
    encoder = encoder_of(name)
    theirs = states_and_gradients("torch", encoder)
    for function in ("attend", "activate", "add_norm", "add_then_norm", "linear", "embed"):
        monkeypatch.setattr(plain, function, lambda *_, name=function: pytest.fail(f"fell back to plain.{name}"))
    assert_equal(theirs, states_and_gradients("fused", encoder))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("modernbert", {"norm_bias": True, "attention_bias": True, "intermediate_bias": True, "output_bias": True}),
        ("modernbert", {"local_window": 16, "global_every": 2}),
        ("modernbert", {"local_window": 0, "global_every": 3}),
        ("modernbert", {"activation": "silu"}),
        ("modernbert", {"activation": "relu"}),
        ("nomic_bert", {"num_heads": 4}),
        ("gte", {"activation": "silu"}),
    ],
)
def test_variants_equal_those_of_torch(name, changes):
    encoder = encoder_of(name, **{key: value for key, value in changes.items() if key != "num_heads"})
    if "num_heads" in changes:  # heads that are too narrow for the loops
        encoder = stirred(PackedEncoder(replace(encoder.shape, **changes)), std=0.15).eval()
    assert_equal(states_and_gradients("torch", encoder), states_and_gradients("fused", encoder))


LONG = [530, 3, 17, 701, 40, 640]


@pytest.mark.parametrize("window", [16, 128, 1000])
@pytest.mark.parametrize("name", ["torch", "fused"])
def test_long_texts_that_are_computed_in_blocks_equal_those_that_are_not(name, window, monkeypatch):
    encoder = encoder_of("modernbert", local_window=window)
    monkeypatch.setattr(plain, "_BLOCK", 10_000)
    at_once = states_and_gradients("torch", encoder, lengths=LONG)
    monkeypatch.undo()
    assert_equal(at_once, states_and_gradients(name, encoder, lengths=LONG))


def test_dropout_of_blocks_is_the_same_in_both_passes():
    """The derivative of the loss along a direction is that of finite differences at the same masks."""
    encoder = replace_dropout(encoder_of("modernbert", local_window=16)).train()
    weight = encoder.layers[1].attention.qkv.weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    coefficients = torch.randn(sum(LONG), 64, generator=torch.Generator().manual_seed(7))

    def loss():
        torch.manual_seed(5)
        with kernels.using("fused"):
            return (encoder(*stream(LONG)) * coefficients).sum()

    def moved_by(step):
        with torch.no_grad():
            weight.add_(step * direction)
            value = loss().item()
            weight.sub_(step * direction)
        return value

    loss().backward()
    slope = (weight.grad * direction).sum().item()
    measured = (moved_by(1e-3) - moved_by(-1e-3)) / 2e-3
    assert abs(slope - measured) <= 0.02 * abs(measured)


def replace_dropout(encoder):
    encoder.drop(replace(encoder.shape, attention_dropout=0.3))
    return encoder


@every("adapters")
def test_adapters_in_an_encoder_with_norms_first_equal_those_of_torch(kind, options):
    encoder = encoder_of("modernbert")
    adapters = [[stirred(built("adapters", kind, options, encoder.shape), seed, 0.15)] for seed in (1, 2, 3)]
    assert_equal(states_and_gradients("torch", encoder, adapters), states_and_gradients("fused", encoder, adapters))


@pytest.mark.parametrize("name", FAMILIES)
def test_bf16_states_are_near_those_of_fp32(name):
    encoder = encoder_of(name)
    with torch.no_grad(), kernels.using("fused"):
        exact = encoder(*stream())
        with torch.autocast("cpu", torch.bfloat16):
            ours = encoder(*stream()).float()
        with kernels.using("torch"), torch.autocast("cpu", torch.bfloat16):
            plainly = encoder(*stream()).float()
    spread = exact.std()
    assert (ours - exact).abs().mean() <= 0.02 * spread
    assert (ours - exact).abs().mean() <= 1.5 * (plainly - exact).abs().mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("function", [nn.functional.gelu, nn.functional.silu])
def test_a_gate_is_the_activation_of_one_half_times_the_other(function, with_bias, dtype):
    x = (torch.randn(70, 64, generator=torch.Generator().manual_seed(1)) * 4).to(dtype).requires_grad_()
    bias = torch.randn(64, generator=torch.Generator().manual_seed(2)).requires_grad_() if with_bias else None
    weights = torch.randn(70, 32, generator=torch.Generator().manual_seed(3))
    exact = [None if each is None else each.detach().double().requires_grad_() for each in (x, bias)]
    a, b = (exact[0] if bias is None else exact[0] + exact[1]).chunk(2, -1)
    expected = function(a) * b
    (expected * weights).sum().backward()
    y = fused.activate(Pending(x * 1, bias, Gated(function)))
    (y.float() * weights).sum().backward()
    bound = 1e-6 if dtype == torch.float32 else 2**-8
    assert (y - expected).abs().max() <= bound * (1 + expected.abs().max())
    assert (x.grad - exact[0].grad).abs().max() <= 2 * bound * (1 + exact[0].grad.abs().max())
    if bias is not None:
        assert (bias.grad - exact[1].grad).norm() <= 2 * bound * exact[1].grad.norm()


def test_a_gate_of_large_values_is_finite():
    x = torch.tensor([[-1e4, -100.0, 100.0, 1e4] * 4 + [1.0] * 16])
    for function in (nn.functional.gelu, nn.functional.silu):
        y = fused.activate(Pending(x, None, Gated(function)))
        assert torch.allclose(y, torch.tensor([[0.0, 0.0, 100.0, 1e4] * 4]), atol=1e-6)
