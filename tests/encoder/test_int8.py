"""Encoders in int8: exact products, the same states as a reference, and no dependence on the rest of the batch."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from components import built
from plain_bert import Stream, stirred
from torch import nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.families import family
from mbert_cli.encoder.kernels import Gated, Pending, int8, plain
from mbert_cli.encoder.kernels.int8 import Int8Linear, integer_product, quantised
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.quantisation import quantise

pytest.importorskip("numba")
from mbert_cli.encoder.kernels import fused, int8_fused, int8_tile

SIZES = {"vocab_size": 40, "hidden_size": 64, "num_layers": 3, "num_heads": 2, "intermediate_size": 96}
LENGTHS = [5, 1, 17, 16, 33, 2]
NEEDS_TILE = pytest.mark.skipif(not int8_tile.IS_SUPPORTED, reason="no tile for this processor, or AMX is faster")


def encoder_of(name="bert", **changes):
    shape = replace(family(name).defaults, **{**SIZES, **changes}, dropout=0.0, attention_dropout=0.0)
    return stirred(PackedEncoder(shape), std=0.4).eval()


def stream(lengths=LENGTHS, segments=None, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 40, (sum(lengths),), generator=generator)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return Stream(ids, torch.zeros_like(ids), positions, Layout(lengths, segments))


def states(encoder, packed, name, adapters=()):
    with torch.no_grad(), kernels.using(name):
        return encoder(*packed, adapters)


def rounded(values):
    """Return each row in float64, rounded to multiples of a 127th of its largest absolute value."""
    values = values.detach().double().numpy()
    step = np.abs(values).max(1, keepdims=True) / 127
    return np.round(values / np.where(step == 0, 1, step)) * step


class Reference(nn.Linear):
    """A linear layer whose weight and input are rounded as in int8, in float64."""

    def forward(self, x):
        product = rounded(x) @ rounded(self.weight).T
        return torch.from_numpy(product).float() + (0 if self.bias is None else self.bias)


def reference_of(encoder):
    """Return a copy of an encoder with such layers; the plain kernels call them."""
    copy = deepcopy(encoder)
    for layer in copy.layers:
        for linear in layer.linears().values():
            linear.__class__ = Reference
    return copy


@pytest.mark.parametrize("instructions", [True, False])
def test_product_of_integers_equals_that_of_numpy_for_the_largest_values(instructions, monkeypatch):
    if not instructions:
        monkeypatch.setattr(int8, "has_fast_products", lambda: False)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.choice([-127, 127, 0, 5], size=(300, 2096))).float() * 3.0
    x[0] = 1
    layer = Int8Linear.of(nn.Linear(2096, 32))
    layer.weight.copy_(torch.from_numpy(rng.integers(-127, 128, size=(32, 2096))))
    layer.weight[0], layer.weight[1] = 127, -127
    expected = quantised(x).values.numpy().astype(np.int64) @ layer.weight.numpy().astype(np.int64).T
    assert expected.max() == 2096 * 127**2  # more than fp32 adds exactly
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            assert (integer_product(quantised(x), layer).numpy() == expected).all()


@pytest.mark.parametrize("name", ["bert", "modernbert", "mpnet", "deberta-v2", "albert"])
def test_encoder_of_each_kind_equals_a_reference_in_float64(name, monkeypatch):
    encoder = encoder_of(name)
    exact, packed = states(encoder, stream(), "torch"), stream()
    monkeypatch.setattr(plain, "linear", reference_linear)
    expected = states(reference_of(encoder), packed, "torch")
    monkeypatch.undo()
    quantise(encoder)
    rounding = (expected - exact).abs().mean()
    assert rounding < 0.1 * exact.abs().mean()
    # Float errors move a few values across the middle between two integers. The loops also approximate GELU, to 1e-4.
    assert (states(encoder, packed, "torch") - expected).abs().mean() < 0.02 * rounding
    assert (states(encoder, packed, "fused") - expected).abs().mean() < 0.7 * rounding


def reference_linear(x, layer):
    return Pending(layer(x.tensor() if isinstance(x, Pending) else x))


def test_states_of_a_sentence_do_not_depend_on_the_batch():
    encoder = quantise(encoder_of())
    packed = stream([17, *LENGTHS, 512, *LENGTHS * 5])
    together, alone = states(encoder, packed, "fused"), states(encoder, first_sentence(packed), "fused")
    assert torch.equal(together[:17], alone)


@NEEDS_TILE
@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_products_in_blocks_give_the_same_bytes_as_whole_products(name, monkeypatch):
    encoder, packed = quantise(encoder_of(name)), stream([*LENGTHS, 200, *LENGTHS * 3])
    in_blocks = states(encoder, packed, "fused")
    monkeypatch.setattr(int8_fused, "IN_BLOCKS", False)
    assert torch.equal(in_blocks, states(encoder, packed, "fused"))


def first_sentence(packed):
    return Stream(*(each[:17] for each in packed[:3]), Layout([17]))


def test_no_loop_falls_back_in_bert_and_modernbert(monkeypatch):
    monkeypatch.delattr(fused, "plain")
    monkeypatch.delattr("mbert_cli.encoder.kernels.int8_fused.plain")
    for name in ("bert", "modernbert"):
        states(quantise(encoder_of(name)), stream(), "fused")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("lora", {}), ("low_rank", {"rank": 4}), ("houlsby", {"rank": 4}), ("prefix", {}), ("layer_norm", {})],
)
def test_adapters_act_on_an_encoder_in_int8(kind, options):
    encoder = encoder_of()
    adapters = [[stirred(built("adapters", kind, options, encoder.shape))], []]
    packed = stream(segments=[3, 3])
    exact = states(encoder, packed, "torch", adapters)
    without = states(encoder, packed, "torch")
    found = states(quantise(encoder), packed, "fused", adapters)
    tokens = sum(LENGTHS[:3])
    error = (found - exact)[:tokens].abs().mean()
    assert error < 0.03 * exact.abs().mean()
    assert error < 0.7 * (found - without)[:tokens].abs().mean()


def test_values_that_are_not_finite_stay_so_and_rows_of_zeros_stay_zeros():
    layer = Int8Linear.of(nn.Linear(64, 64, bias=False))
    x = torch.randn(4, 64)
    x[0], x[1, 3], x[2, 5] = 0, float("nan"), float("inf")
    for kernel in ("torch", "fused"):
        with torch.no_grad(), kernels.using(kernel):
            y = kernels.current().linear(x, layer).tensor()
        assert (y[0] == 0).all()
        assert y[1:].isfinite().all(1).tolist() == [False, False, True]


def test_an_activation_without_a_loop_is_computed_in_floats():
    first, second = nn.Linear(64, 32), nn.Linear(16, 48)
    x = torch.randn(9, 64)
    for activation, width in ((nn.functional.relu, 32), (Gated(nn.functional.relu), 16), (nn.functional.gelu, 32)):
        second = nn.Linear(width, 48)
        expected = second(activation(first(x)))
        with torch.no_grad(), kernels.using("fused"):
            inside = kernels.current().linear(x, Int8Linear.of(first)).activated(activation)
            found = kernels.current().linear(inside, Int8Linear.of(second)).tensor()
        assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_add_norm_reads_the_scales_of_a_product_while_autograd_records():
    layer, norm, x = Int8Linear.of(nn.Linear(64, 64)), nn.LayerNorm(64), torch.randn(9, 64)
    results = []
    for name in ("torch", "fused"):
        with kernels.using(name):
            results.append(kernels.current().add_norm(kernels.current().linear(x, layer), x, norm)[0])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-4)
