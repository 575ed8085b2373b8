"""Fused kernels give the same results as PyTorch operations."""

import gc
import pickle
import weakref
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from components import built, every
from plain_bert import Stream, stirred
from torch import nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.dropout import keyed
from mbert_cli.encoder.kernels import Pending, plain
from mbert_cli.encoder.kernels.memory import empty_rows
from mbert_cli.encoder.kernels.product import Linear, renew
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape

fused = pytest.importorskip("mbert_cli.encoder.kernels.fused")
weight_gradient = pytest.importorskip("mbert_cli.encoder.kernels.weight_gradient").weight_gradient
SHAPE = EncoderShape(
    vocab_size=40, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48, max_positions=512, dropout=0.0,
    attention_dropout=0.0,
)  # fmt: skip
RAGGED = {
    "one token": [1],
    "one sentence": [23],
    "the longest": [512],
    "all lengths about a vector": [15, 16, 17, 31, 32, 33, 1, 2],
    "more than the padding": [100, 90, 80, 70, 60, 50, 40, 30, 20],
}


def stream(lengths, segments=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(lengths)
    ids = torch.randint(1, SHAPE.vocab_size, (tokens,), generator=generator)
    types = torch.randint(0, 2, (tokens,), generator=generator)
    positions = torch.cat([torch.arange(length) for length in lengths]) if lengths else ids
    return Stream(ids, types, positions, Layout(lengths, segments))


def rows(count, columns, seed=0, dtype=torch.float32):
    values = torch.randn(count, columns, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).requires_grad_()


def gradients_of(modules):
    """Return the gradients by name, with dense gradients for tables."""
    found = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
                found[name] = gradient.clone()
                parameter.grad = None
    return found


def states_and_gradients(name, encoder, packed, adapters=()):
    """Return the hidden states of a stream without and with an autograd graph, and the gradients of a weighted sum."""
    weights = torch.randn(packed.layout.num_tokens, SHAPE.hidden_size, generator=torch.Generator().manual_seed(7))
    with kernels.using(name):
        with torch.no_grad():
            alone = encoder(*packed, adapters)
        h = encoder(*packed, adapters)
        (h * weights).sum().backward()
    return alone, h.detach(), gradients_of([encoder, *(each for own in adapters for each in own)])


def assert_equal(theirs, ours, states=1e-5, gradients=1e-4):
    alone, with_graph, expected = theirs
    for found in ours[:2]:
        assert torch.allclose(found, alone, atol=states)
        assert torch.allclose(found, with_graph, atol=states)
    assert expected.keys() == ours[2].keys()
    largest = max(each.norm() for each in expected.values())
    for name, gradient in ours[2].items():
        # A gradient that is 0 except for rounding has no meaningful relative error.
        assert (gradient - expected[name]).norm() <= gradients * max(expected[name].norm(), 1e-3 * largest), name


@pytest.fixture
def encoder():
    return stirred(PackedEncoder(SHAPE), std=0.3).eval()


@pytest.mark.parametrize("lengths", RAGGED.values(), ids=RAGGED)
def test_states_and_gradients_equal_those_of_torch_on_ragged_streams(encoder, lengths):
    packed = stream(lengths)
    assert_equal(states_and_gradients("torch", encoder, packed), states_and_gradients("fused", encoder, packed))


@every("adapters")
def test_states_and_gradients_equal_those_of_torch_with_every_adapter(encoder, kind, options):
    packed = stream([3, 20, 17, 1, 40], [2, 0, 1, 2])
    adapters = [[stirred(built("adapters", kind, options, SHAPE), seed, 0.3)] for seed in (1, 2, 3)]
    adapters.insert(2, [])
    theirs = states_and_gradients("torch", encoder, packed, adapters)
    assert_equal(theirs, states_and_gradients("fused", encoder, packed, adapters))


@pytest.mark.parametrize("bad", [-1, SHAPE.vocab_size, 10**9])
def test_ids_beyond_the_table_are_refused(encoder, bad):
    packed = stream([4, 5])
    packed.token_ids[3] = bad
    with kernels.using("fused"), pytest.raises(IndexError):
        encoder(*packed)


def test_an_empty_stream_gives_no_states(encoder):
    for name in kernels.NAMES:
        with kernels.using(name):
            assert encoder(*stream([])).shape == (0, SHAPE.hidden_size)


@pytest.mark.parametrize("change", [{"hidden_size": 24}, {"num_heads": 4}, {"activation": "relu"}])
def test_unsupported_shapes_fall_back_to_torch_results(change):
    shape = EncoderShape(**{**SHAPE.__dict__, **change})
    encoder, packed = stirred(PackedEncoder(shape), std=0.3).eval(), stream([5, 30])
    with kernels.using("torch"), torch.no_grad():
        expected = encoder(*packed)
    with kernels.using("fused"), torch.no_grad():
        assert torch.allclose(encoder(*packed), expected, atol=1e-5)


@pytest.mark.parametrize("lengths", RAGGED.values(), ids=RAGGED)
def test_bf16_states_are_near_those_of_fp32(encoder, lengths):
    packed = stream(lengths)
    with torch.no_grad():
        exact = encoder(*packed)
        for name in kernels.NAMES:
            with kernels.using(name), torch.autocast("cpu", torch.bfloat16):
                found = encoder(*packed).float()
            assert (found - exact).norm() <= 0.015 * exact.norm()


def test_bf16_gradients_are_near_those_of_fp32(encoder):
    packed = stream(RAGGED["more than the padding"])
    exact = states_and_gradients("torch", encoder, packed)[2]
    with torch.autocast("cpu", torch.bfloat16):
        found = states_and_gradients("fused", encoder, packed)[2]
    for name, gradient in found.items():
        if "qkv.bias" not in name:  # the gradient of the keys' bias is 0
            assert (gradient - exact[name]).norm() <= 0.05 * exact[name].norm(), name


def test_the_gradient_of_the_word_embeddings_has_the_rows_that_occur(encoder):
    packed = stream([4, 5])
    with kernels.using("fused"):
        encoder(*packed).sum().backward()
    gradient = encoder.word_embeddings.weight.grad
    assert gradient.is_sparse
    assert gradient.coalesce().indices()[0].tolist() == sorted(set(packed.token_ids.tolist()))


def test_frozen_parameters_have_no_gradient(encoder):
    top = stirred(built("adapters", "top", {}, SHAPE), std=0.3)
    encoder.requires_grad_(False)
    with kernels.using("fused"):
        encoder(*stream([4, 5]), [[top]]).sum().backward()
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(parameter.grad is not None for parameter in top.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [32, 48, 40])
def test_add_is_the_sum_of_value_bias_and_residual(columns, dtype):
    """Also for sizes that the loops do not support."""
    x, z = (rows(50, columns, seed, dtype).detach().requires_grad_() for seed in (1, 2))
    bias, weights = rows(1, columns, 3).detach()[0].requires_grad_(), rows(50, columns, 4).detach()
    for name in ("torch", "fused"):
        with kernels.using(name):
            y = kernels.current().add(x, Pending(z * 1, bias))
        found = torch.autograd.grad((y.float() * weights).sum(), (x, z, bias))
        tolerance = {"atol": 1e-5} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.02}
        assert y.dtype == dtype
        assert torch.allclose(y.float(), x.float() + z.float() + bias, **tolerance)
        assert all(torch.equal(each, weights.to(dtype)) for each in found[:2])
        assert torch.allclose(found[2], weights.sum(0), atol=1e-5 if dtype == torch.float32 else 0.1)


def test_gelu_on_its_full_range():
    x = torch.linspace(-40, 40, 32_000).view(-1, 32).requires_grad_()
    with kernels.using("fused"):
        y = kernels.current().activate(Pending(x.clone(), torch.zeros(32), nn.functional.gelu))
    y.sum().backward()
    found, x.grad = x.grad, None
    exact = nn.functional.gelu(x.double())
    exact.sum().backward()
    assert (y - exact).abs().max() <= 1e-6 * 40
    assert (found - x.grad).abs().max() <= 2e-6


def test_the_error_of_gelu_in_half_precision_is_within_rounding():
    x = torch.linspace(-40, 40, 32_000).bfloat16().view(-1, 32)
    exact = nn.functional.gelu(x.double())
    loops = pytest.importorskip("mbert_cli.encoder.kernels.gelu_loops")
    found, zeros = torch.empty(x.shape), torch.zeros(32)
    loops.add_gelu_roughly(fused.flat(x.float()), fused.flat(zeros), 4, fused.flat(found))
    assert (found - exact).abs().max() <= 1e-4
    with kernels.using("fused"):
        halves = kernels.current().activate(Pending(x.clone(), zeros, nn.functional.gelu))
    assert torch.equal(halves, found.bfloat16())
    specials = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30] * 8).bfloat16().view(1, 32)
    with kernels.using("fused"):
        y = kernels.current().activate(Pending(specials, zeros, nn.functional.gelu)).flatten()
    assert y[0].isnan()
    assert y[1] == float("inf")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_values_that_are_not_finite_stay_so_and_do_not_affect_other_sentences(encoder, value):
    packed = stream([5, 20])
    with torch.no_grad(), kernels.using("fused"):
        clean = encoder(*packed)
        encoder.word_embeddings.weight[packed.token_ids[7]] = value
        found = encoder(*packed)
    hurt = [int(packed.token_ids[7]) in own.tolist() for own in packed.token_ids.split([5, 20])]
    for spoilt, before, after in zip(hurt, clean.split([5, 20]), found.split([5, 20]), strict=True):
        if not spoilt:
            assert torch.equal(before, after)
        elif value != 1e30:
            assert after.isnan().any()


@pytest.mark.parametrize("heads", [2, 4, 6])
def test_flash_attention_gets_the_packed_stream(monkeypatch, heads):
    """It runs only on a GPU; here a function with the same signature replaces it."""
    lengths = [3, 20, 17, 1, 40]
    qkv, layout = rows(sum(lengths), 3 * 36).detach(), Layout(lengths)

    def flash_attention(
        q, k, v, starts, key_starts, longest, longest_key, dropout_p, is_causal, *, return_debug_mask, scale
    ):
        assert q.shape[-1] % 8 == 0
        assert dropout_p == 0
        assert not is_causal
        assert not return_debug_mask
        assert starts.dtype == torch.int32
        assert starts is key_starts
        assert longest == longest_key == 40
        found = []
        for start, end in pairwise(starts):
            own = (each[start:end].transpose(0, 1) for each in (q, k, v))
            found.append(nn.functional.scaled_dot_product_attention(*own, scale=scale).transpose(0, 1))
        return torch.cat(found), None

    expected = plain.attend(Pending(qkv), layout, heads, 0.0)
    monkeypatch.setattr(plain, "has_flash_attention", lambda *_: True)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", flash_attention)
    assert torch.allclose(plain.attend(Pending(qkv), layout, heads, 0.0), expected, atol=1e-6)


def test_flash_attention_is_not_used_with_dropout(monkeypatch):
    """Its masks would not be those of other kernels and devices."""
    qkv, layout = rows(12, 96).detach(), Layout([5, 7])
    with keyed(1, 2):
        expected = plain.attend(Pending(qkv), layout, 2, 0.25)
    monkeypatch.setattr(plain, "has_flash_attention", lambda *_: True)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", lambda *_, **__: pytest.fail("it is used"))
    with keyed(1, 2):
        assert torch.equal(plain.attend(Pending(qkv), layout, 2, 0.25), expected)


def test_pytorch_has_the_private_operators_that_are_called():
    """A release of PyTorch that changes one of them fails here, also on machines without a GPU."""
    arguments = [each.name for each in torch.ops.aten._flash_attention_forward.default._schema.arguments]
    positional = ["query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k"]
    assert arguments[:10] == [*positional, "dropout_p", "is_causal", "return_debug_mask"]
    assert {"scale", "window_size_left", "window_size_right"} <= {*arguments}
    assert {torch.cpu._is_amx_tile_supported(), torch.cpu._is_avx512_bf16_supported()} <= {True, False}
    values = [torch.ones(2), torch.ones(3)]
    torch._foreach_mul_(values, torch.tensor(2.0))
    torch._foreach_copy_(values[:1], [torch.zeros(2, dtype=torch.bfloat16)])
    assert [each.tolist() for each in values] == [[0, 0], [2, 2, 2]]


def test_flash_attention_is_not_used_on_cpus():
    assert not plain.has_flash_attention(torch.empty(1, 96), 16)
    assert not plain.has_flash_attention(torch.empty(1, 96, dtype=torch.bfloat16), 16)


# Dropout


def dropped(p, seed=0, count=400, columns=64):
    torch.manual_seed(seed)
    with kernels.using("fused"):
        return kernels.current().add_dropout(Pending(torch.ones(count, columns), dropout_p=p))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("columns", [16, 48, 512])
def test_dropout_has_the_right_rate_and_preserves_the_mean(p, columns):
    out = dropped(p, count=200_000 // columns, columns=columns)
    count = out.numel()
    assert abs((out == 0).double().mean().item() - p) < 5 * (p * (1 - p) / count) ** 0.5
    assert abs(out.double().mean().item() - 1) < 5 * (p / (1 - p) / count) ** 0.5


def test_masks_repeat_with_the_seed_and_are_independent_between_calls_tokens_and_features():
    first = dropped(0.5, seed=3)
    assert torch.equal(first, dropped(0.5, seed=3))
    torch.manual_seed(3)
    with kernels.using("fused"):
        own, next_one = (kernels.current().add_dropout(Pending(torch.ones(400, 64), dropout_p=0.5)) for _ in range(2))
    assert torch.equal(own, first)
    signs = (own != 0).double() - 0.5
    noise = 5 * 0.25 / signs.numel() ** 0.5
    assert abs((signs * ((next_one != 0).double() - 0.5)).mean().item()) < noise
    for distance in (1, 2, 16, 32):
        assert abs((signs[:, :-distance] * signs[:, distance:]).mean().item()) < 2 * noise
        assert abs((signs[:-distance] * signs[distance:]).mean().item()) < 2 * noise


def test_masks_of_steps_and_layers_are_independent():
    """Each call and each seed draws a new mask."""
    masks = set()
    with kernels.using("fused"):
        for seed in (0, 1):
            torch.manual_seed(seed)
            for _ in range(500):
                dropped = kernels.current().add_dropout(Pending(torch.ones(1, 96), dropout_p=0.5))
                masks.add(tuple(dropped.flatten().tolist()))
    assert len(masks) == 1000


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("what", ["add_dropout", "add_norm", "attend"])
def test_the_backward_pass_drops_what_the_forward_pass_dropped(what, p):
    """For a fixed mask, the function is linear in the dropped values: directional derivatives equal differences."""
    x, direction = rows(40, 96), rows(40, 96, 1).detach()
    residual, norm = rows(40, 96, 2).detach(), nn.LayerNorm(96)
    layout = Layout([7, 30, 3])

    def apply(x):
        torch.manual_seed(5)
        with kernels.using("fused"):
            if what == "add_dropout":
                return kernels.current().add_dropout(Pending(x, dropout_p=p))
            if what == "add_norm":
                return kernels.current().add_norm(Pending(x, dropout_p=p), residual, norm)[0]
            return kernels.current().attend(Pending(x), layout, 2, p)

    weights = rows(*apply(x).shape, seed=4).detach()
    (apply(x) * weights).sum().backward()
    step = 1e-2
    with torch.no_grad():
        change = (apply(x + step * direction) - apply(x - step * direction)) * weights / (2 * step)
    assert (x.grad * direction).sum().item() == pytest.approx(change.double().sum().item(), rel=2e-3, abs=2e-3)


def test_dropout_of_attention_weights_has_its_rate():
    """All values are 1, so the output of a token is the scaled sum of the weights that were kept."""
    torch.manual_seed(0)
    qkv = torch.zeros(512, 96)
    qkv[:, 64:] = 1
    with kernels.using("fused"):
        out = kernels.current().attend(Pending(qkv), Layout([512]), 2, 0.25)
    kept = out[:, ::16].double()  # one value per head
    assert kept.mean().item() == pytest.approx(1, abs=5 * (0.25 / 0.75 / (512 * 1024)) ** 0.5)
    assert kept.var().item() == pytest.approx(0.25 / 0.75 / 512, rel=0.2)


# Weights and memory


def test_a_copy_of_a_weight_follows_its_changes():
    layer, x = Linear(16, 16), rows(4, 16, dtype=torch.bfloat16)
    for change in (
        lambda: None,
        lambda: torch._foreach_mul_([layer.weight.detach()], 2),
        lambda: layer.load_state_dict(Linear(16, 16).state_dict()),
        lambda: setattr(layer, "weight", nn.Parameter(torch.ones(16, 16))),
    ):
        change()
        copy = layer.weight_in(torch.bfloat16)
        assert torch.equal(copy, layer.weight.bfloat16())
        assert layer.weight_in(torch.bfloat16) is copy
        exact = x.float() @ copy.float().T
        assert torch.allclose(fused.linear(x, layer).value.float(), exact, atol=0.05, rtol=0.02)
        assert torch.allclose(layer.affine(x).float(), exact + layer.bias, atol=0.05, rtol=0.02)


def test_a_pickled_layer_contains_no_copies_of_its_weights():
    layer = Linear(16, 16)
    size = len(pickle.dumps(layer))
    layer.weight_in(torch.bfloat16)
    assert len(pickle.dumps(layer)) == size
    assert torch.equal(deepcopy(layer).weight_in(torch.bfloat16), layer.weight.bfloat16())


def test_outdated_copies_are_updated_together():
    layers = [Linear(16, 16), Linear(16, 8)]
    renew(each for layer in layers for each in layer.outdated(torch.bfloat16))
    assert not any(layer.outdated(torch.bfloat16) for layer in layers)
    assert not layers[0].outdated(torch.float32)
    with torch.no_grad():
        layers[1].bias.add_(1)
    (outdated,) = (each for layer in layers for each in layer.outdated(torch.bfloat16))
    assert outdated[1] is layers[1].bias
    renew([outdated])
    assert torch.equal(layers[1].bias_in(torch.bfloat16), layers[1].bias.bfloat16())


@pytest.mark.parametrize("tokens", [1, 31, 300])
@pytest.mark.parametrize(("ins", "outs"), [(128, 160), (160, 128), (128, 128), (128, 144), (64, 256), (128, 40)])
def test_gradients_of_weights_in_half_precision_follow_the_formula(tokens, ins, outs):
    """With each of the two matrices as the narrower one, and with sizes that are not transposed."""
    dy, x = (rows(tokens, size, dtype=torch.bfloat16).detach() for size in (outs, ins))
    found = weight_gradient(dy, x, torch.float32)
    assert found.dtype == torch.float32
    assert torch.allclose(found, dy.float().T @ x.float(), atol=0.02, rtol=0.01)
    assert torch.allclose(weight_gradient(dy.float(), x.float(), torch.float32), dy.float().T @ x.float(), atol=1e-3)


def test_the_gradients_of_a_layer_in_half_precision_follow_the_formulas():
    layer, x = Linear(16, 24), rows(40, 16, dtype=torch.bfloat16).detach().requires_grad_()
    weights = rows(40, 24, dtype=torch.bfloat16).detach()
    (layer.affine(x) * weights).sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32
    assert torch.allclose(layer.weight.grad, weights.float().T @ x.detach().float(), atol=0.1, rtol=0.02)
    assert torch.allclose(layer.bias.grad, weights.float().sum(0), atol=1e-4)
    assert torch.allclose(x.grad.float(), weights.float() @ layer.weight.detach(), atol=0.1, rtol=0.03)


def test_memory_is_reused_but_never_shared():
    like = torch.empty(300, 16)
    first, second = empty_rows(like), empty_rows(like, 16)
    assert first.shape == second.shape == like.shape
    assert first.data_ptr() != second.data_ptr()
    first.fill_(1)
    second.fill_(2)
    view, place, gone = first[5:], first.data_ptr(), weakref.ref(first)
    del first
    assert gone() is None
    assert empty_rows(like).data_ptr() != place  # a view still uses the block
    del view
    gc.collect()
    assert empty_rows(torch.empty(290, 16)).data_ptr() == place  # the block also fits fewer rows
    assert (second == 2).all()


def test_memory_for_longer_streams_replaces_that_for_shorter_ones():
    like = torch.empty(300, 16)
    old = empty_rows(like)
    longer = empty_rows(torch.empty(70_000, 16))
    old.fill_(3)
    longer.fill_(4)
    del old
    assert (longer == 4).all()
    assert len(empty_rows(like)) == 300
