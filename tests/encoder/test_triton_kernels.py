"""The Triton kernels give the same results as PyTorch operations.

Without a GPU they run in Triton's interpreter, in fp64. With one, they are compiled, and fp32 is compared with fp64.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_bert import stirred
from torch import nn

from mbert_cli.adapters.low_rank import LowRank
from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.dropout import keyed, numbered
from mbert_cli.encoder.families import family
from mbert_cli.encoder.kernels import Pending, plain
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape

triton = pytest.importorskip("triton")
interpreter = pytest.importorskip("triton.runtime.interpreter")
fused = pytest.importorskip("mbert_cli.encoder.kernels.triton.fused")
attending = pytest.importorskip("mbert_cli.encoder.kernels.triton.attending")
ON_GPU = torch.cuda.is_available()
pytestmark = [pytest.mark.gpu] if ON_GPU else []
DEVICE = "cuda" if ON_GPU else "cpu"
EXACT = torch.float32 if ON_GPU else torch.float64
BOUND = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 0.02}
"""The largest error, relative to the norm of the exact result."""


@pytest.fixture(scope="module", autouse=True)
def dot_in_bf16():
    """Multiply values in bf16, which the interpreter (version 3.7) stores as integers and multiplies as integers."""
    if ON_GPU:
        yield
        return
    builder = interpreter.InterpreterBuilder
    create_dot = builder.create_dot

    def widened(x):
        if x.dtype.name != "bf16":
            return x
        return interpreter.TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), triton.language.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "create_dot", lambda self, a, b, *rest: create_dot(self, widened(a), widened(b), *rest))
        yield


def values(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE)


def outputs_and_gradients(module, function, tensors, dtype, of_parameters=torch.float64):
    """Return the results of a function, and the gradients of a weighted sum of them, in fp64.

    Vectors keep the data type of parameters; matrices have `dtype`.
    """
    inputs = [each.to(of_parameters if each.ndim == 1 else dtype).requires_grad_() for each in tensors]
    with keyed(3, 4):
        outputs = function(module, *inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = sum((each.double() * values(*each.shape, seed=9 + place)).sum() for place, each in enumerate(outputs))
    return [each.double() for each in (*outputs, *torch.autograd.grad(total, inputs))]


def assert_equal_plain(function, tensors, dtype):
    """Compare the fused kernels with PyTorch's in fp64, on the rounded inputs."""
    rounded = [each if each.ndim == 1 else each.to(dtype).double() for each in tensors]
    expected = outputs_and_gradients(plain, function, rounded, torch.float64)
    of_parameters = torch.float64 if dtype == torch.float64 else torch.float32
    for ours, exact in zip(
        outputs_and_gradients(fused, function, rounded, dtype, of_parameters), expected, strict=True
    ):
        assert (ours - exact).norm() <= BOUND[dtype] * exact.norm()


PRECISIONS = [EXACT, torch.bfloat16]


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 40), (130, 48)])
class TestRows:
    """Functions of the rows of a matrix: one row, and several tiles of which the last is not full."""

    def test_the_sum_with_dropout_equals_plain(self, rows, columns, dtype):
        def add(module, x, z, bias):
            return module.add(x, Pending(z * 1, bias, dropout_p=0.25)), module.add_dropout(Pending(z * 1, bias))

        assert_equal_plain(add, [values(rows, columns), values(rows, columns, seed=1), values(columns)], dtype)

    def test_gelu_equals_plain(self, rows, columns, dtype):
        def activate(module, z, bias):
            return module.activate(Pending(z * 1, bias, nn.functional.gelu))

        assert_equal_plain(activate, [values(rows, columns) * 3, values(columns)], dtype)

    @pytest.mark.parametrize("p", [0.0, 0.25])
    def test_the_norm_of_a_sum_equals_plain(self, rows, columns, dtype, p):
        def add_norm(module, z, bias, residual, gamma, beta):
            norm = nn.LayerNorm(columns, eps=1e-12, dtype=gamma.dtype, device=DEVICE)
            del norm.weight, norm.bias
            norm.weight, norm.bias = gamma, beta
            y, beside = module.add_norm(Pending(z * 1, bias, dropout_p=p), residual, norm)
            return y + 2 * beside  # both have a gradient

        matrices = [values(rows, columns), values(columns), values(rows, columns, seed=1)]
        assert_equal_plain(add_norm, [*matrices, values(columns, seed=2) + 1, values(columns, seed=3)], dtype)


@pytest.mark.parametrize("rows", [2, 40])
def test_the_gradients_of_embeddings_equal_plain(rows):
    """Some rows do not occur, one occurs more often than a tile has tokens, and small tables have a product."""
    ids = torch.tensor([0] * 35 + [rows - 1, 1, rows - 1, 0], device=DEVICE)

    def embed(module, table, other):
        tables = [nn.Embedding(*each.shape, _weight=each) for each in (table, other)]
        for embedding, weight in zip(tables, (table, other), strict=True):
            del embedding.weight
            embedding.weight = weight
        norm = nn.LayerNorm(table.shape[1], dtype=table.dtype, device=DEVICE)
        return module.embed(tables, [ids, ids.flip(0)], norm)

    assert_equal_plain(embed, [values(rows, 140), values(rows + 20, 140, seed=1)], EXACT)


@pytest.mark.parametrize("p", [0.0, 0.25])
@pytest.mark.parametrize(("lengths", "heads", "size"), [([1], 1, 32), ([512], 1, 32), ([3, 20, 17, 1, 70, 40], 2, 24)])
def test_attention_equals_plain(lengths, heads, size, p, monkeypatch):
    """One token; the longest sentence; several sentences in a tile, and sentences in several tiles."""
    layout = Layout(lengths, device=DEVICE)
    if not ON_GPU and lengths == [512]:
        monkeypatch.setitem(attending.TILES, EXACT, 256)  # the interpreter's time depends on the number of tiles

    def attend(module, qkv, bias):
        return module.attend(Pending(qkv * 1, bias), layout, heads, p)

    tensors = [values(sum(lengths), 3 * heads * size), values(3 * heads * size)]
    assert_equal_plain(attend, tensors, EXACT)
    if lengths != [512]:
        assert_equal_plain(attend, tensors, torch.bfloat16)


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_masks_are_those_of_plain_bit_for_bit(p):
    """Rows have numbers in a larger batch, and 70 columns are no multiple of the 32 that share their random bits."""
    rows = torch.tensor([0, 5, 70_000, 1 << 40], device=DEVICE)
    ones, masks = torch.ones(4, 70, device=DEVICE), []
    for module in (plain, fused):
        with keyed(1, 2), numbered(lambda: rows):
            masks.append([module.add_dropout(Pending(ones, dropout_p=p)) for _ in range(3)])
    assert all(torch.equal(*each) for each in zip(*masks, strict=True))


def test_attention_drops_the_weights_that_plain_drops():
    """All scores are equal and a value has its own column, so an output is a row of weights."""
    length, layout = 20, Layout([20, 20], device=DEVICE)
    qkv = torch.zeros(2 * length, 3 * 32, device=DEVICE)
    qkv[:, 64 : 64 + length] = torch.eye(length, device=DEVICE).repeat(2, 1)
    weights = []
    for module in (plain, fused):
        with keyed(1, 2):
            weights.append(module.attend(Pending(qkv), layout, 1, 0.5) != 0)
    assert torch.equal(*weights)
    assert 0.4 < weights[0][:, :length].float().mean() < 0.6


SHAPE = EncoderShape(
    vocab_size=40, hidden_size=64, num_layers=2, num_heads=2, intermediate_size=48, max_positions=80, dropout=0.1,
    attention_dropout=0.2,
)  # fmt: skip


def trained(name, encoder, lengths, adapters=()):
    """Return the hidden states in evaluation and in training, and the gradients of a weighted sum."""
    ids = torch.arange(sum(lengths), device=DEVICE) * 7 % 40
    positions = torch.cat([torch.arange(length) for length in lengths]).to(DEVICE)
    packed = ids, torch.zeros_like(ids), positions, Layout(lengths, [2, 0, len(lengths) - 2], DEVICE)
    modules = [encoder, *(each for own in adapters for each in own)]
    with kernels.using(name), keyed(3, 4):
        with torch.no_grad():
            alone = encoder.eval()(*packed, adapters)
        h = encoder.train()(*packed, adapters)
    (h * values(*h.shape)).sum().backward()
    parameters = {f"{at} {key}": value for at, each in enumerate(modules) for key, value in each.named_parameters()}
    gradients = {key: value.grad.to_dense() for key, value in parameters.items() if value.grad is not None}
    for module in modules:
        module.zero_grad()
    return {"alone": alone, "states": h.detach(), **gradients}


def test_an_encoder_with_adapters_an_empty_segment_and_dropout_equals_plain():
    encoder = stirred(PackedEncoder(replace(SHAPE, num_layers=1)), std=0.3).to(DEVICE, EXACT)
    adapters = [[stirred(LowRank(SHAPE, rank=4), seed, 0.3).to(DEVICE, EXACT)] for seed in (1, 2, 3)]
    expected, results = (trained(name, encoder, [9, 3, 20, 1], adapters) for name in ("torch", "triton"))
    assert expected.keys() == results.keys()
    largest = max(each.norm() for each in expected.values())
    for name, exact in expected.items():
        # A gradient that is 0 except for rounding has no meaningful relative error.
        error = (results[name] - exact).norm()
        assert error <= 10 * BOUND[EXACT] * max(exact.norm(), 1e-3 * largest), name


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_and_gradients_repeat_bit_for_bit_on_a_gpu(dtype):
    encoder = stirred(PackedEncoder(SHAPE), std=0.3).to(DEVICE, dtype)
    first, *others = (trained("triton", encoder, [70, 3, 9, 1] * 20) for _ in range(3))
    assert all(torch.equal(each[name], result) for each in others for name, result in first.items())


def test_the_layers_of_bert_do_not_fall_back_to_plain(monkeypatch):
    encoder = PackedEncoder(replace(SHAPE, num_layers=1)).to(DEVICE, EXACT)
    for function in ("attend", "activate", "add_norm", "add_dropout", "linear", "embed"):
        monkeypatch.setattr(plain, function, lambda *_, name=function: pytest.fail(f"fell back to plain.{name}"))
    trained("triton", encoder, [2, 3])


@pytest.mark.parametrize("name", ["modernbert", "mpnet"])
def test_other_families_fall_back_to_plain_where_needed(name):
    """ModernBERT has gates, LayerNorms first, rotary positions and windows; MPNet has relative positions."""
    sizes = {key: getattr(SHAPE, key) for key in ("vocab_size", "hidden_size", "num_heads", "intermediate_size")}
    shape = replace(family(name).defaults, **sizes, num_layers=1, max_positions=90)
    encoder = stirred(PackedEncoder(shape), std=0.15).to(DEVICE, EXACT)
    expected, results = (trained(each, encoder, [30, 3, 9, 1]) for each in ("torch", "triton"))
    for key, exact in expected.items():
        assert torch.allclose(results[key], exact, rtol=1e-3, atol=10 * BOUND[EXACT] * exact.norm())


def test_an_empty_stream_gives_no_states():
    encoder = PackedEncoder(SHAPE).to(DEVICE)
    ids = torch.arange(0, device=DEVICE)
    with kernels.using("triton"):
        assert encoder(ids, ids, ids, Layout([], device=DEVICE)).shape == (0, 64)


def test_the_compiler_accepts_every_kernel():
    """In a process without the interpreter, which accepts more than the compiler does."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_triton.py")
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 11
