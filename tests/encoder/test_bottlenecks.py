"""The bottlenecks of several tasks are computed together. The results are those of each task by itself."""

import pickle
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from mbert_cli.adapters.low_rank import LowRank
from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.adapter import Adapter, Bottleneck
from mbert_cli.encoder.common_bottlenecks import bottlenecks_at, first_segments
from mbert_cli.encoder.kernels import Pending, bottlenecks
from mbert_cli.encoder.kernels.bf16_products import grouped_mm
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.segment_adapters import SegmentAdapters
from mbert_cli.encoder.shape import EncoderShape

pytest.importorskip("numba")
KERNELS = ["fused", *(["triton"] if find_spec("triton") else [])]  # Triton runs in its interpreter
HIDDEN, RANK = 32, 20  # a rank that the loops support only with zeros after it
SEGMENTS = [[3, 2], [70], [9, 9, 9]]
DUMMY = 7  # tokens of a dummy sentence
GELU = nn.functional.gelu
SHAPE = EncoderShape(vocab_size=9, hidden_size=HIDDEN, num_layers=1, num_heads=2, intermediate_size=64, max_positions=8)


def drawn(*size, seed):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed)).bfloat16()


@pytest.fixture
def pairs():
    torch.manual_seed(0)
    return [(Linear(HIDDEN, RANK), Linear(RANK, HIDDEN)) for _ in SEGMENTS]


def layout_of(dummies=True):
    sentences = [length for segment in SEGMENTS for length in segment]
    counts = [len(segment) for segment in SEGMENTS]
    return Layout([*sentences, DUMMY], [*counts, 1]) if dummies else Layout(sentences, counts)


def parameters_of(pairs):
    return [parameter for pair in pairs for layer in pair for parameter in layer.parameters()]


def inputs(tokens):
    return [drawn(tokens, HIDDEN, seed=seed).requires_grad_() for seed in (1, 2)]


def together(x, h, pairs, activation, layout, name="fused"):
    with kernels.using(name):
        return kernels.current().add_bottlenecks(x, h, pairs, activation, first_segments(layout, len(pairs)))


def one_by_one(x, h, pairs, activation, layout):
    """Return x + V_D f(V_E h) in fp64."""
    sizes, parts = layout.segment_tokens, []
    for own_x, own_h, (down, up) in zip(x.split(sizes), h.split(sizes), [*pairs, (None, None)], strict=False):
        if down is not None:
            inside = own_h @ down.weight.double().T + down.bias.double()
            inside = inside if activation is None else activation(inside)
            own_x = own_x + inside @ up.weight.double().T + up.bias.double()
        parts.append(own_x)
    return torch.cat(parts)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("activation", [None, GELU])
@pytest.mark.parametrize("dummies", [True, False])
def test_values_and_gradients_are_those_of_each_task_by_itself(pairs, activation, dummies, name):
    layout = layout_of(dummies)
    x, h = inputs(layout.num_tokens)
    weights = drawn(layout.num_tokens, HIDDEN, seed=3)
    y = together(x, h, pairs, activation, layout, name)
    ours = [y, *torch.autograd.grad((y * weights).sum(), [x, h, *parameters_of(pairs)])]
    x, h = (each.detach().double().requires_grad_() for each in (x, h))
    y = one_by_one(x, h, pairs, activation, layout)
    exact = [y, *torch.autograd.grad((y * weights).sum(), [x, h, *parameters_of(pairs)])]
    for own, expected in zip(ours, exact, strict=True):
        assert own.shape == expected.shape
        assert (own - expected).norm() <= 0.01 * expected.norm()  # bf16 has 8 bits


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("segments", [SEGMENTS, [[1], [1], [1]]])
def test_grouped_products_meet_the_demands_of_a_gpu(pairs, name, segments, monkeypatch):
    """PyTorch's meta tensors check data types and strides as a GPU does, but no addresses."""
    calls = []

    def checked(x, y, ends):
        factors = [torch.empty_strided(each.shape, each.stride(), dtype=each.dtype, device="meta") for each in (x, y)]
        result, on_meta = grouped_mm(x, y, ends), torch._grouped_mm(*factors, ends.to("meta"))
        assert (result.shape, result.stride(), result.dtype) == (on_meta.shape, on_meta.stride(), on_meta.dtype)
        assert all(each.data_ptr() % 16 == 0 for each in (x, y, result))
        # A segment begins at a multiple of 16 bytes, because the rows of the segments are the rows in memory.
        assert y.stride(-1) == 1 if y.ndim == 2 else x.stride(-1) == 1
        assert x.ndim == 2 and (x.stride(0) == 1 if y.ndim == 2 else x.is_contiguous())  # noqa: PT018
        calls.append(on_meta.shape)
        return result

    monkeypatch.setattr(bottlenecks, "grouped_mm", checked)
    layout = Layout([length for each in segments for length in each], [len(each) for each in segments])
    x, h = inputs(layout.num_tokens)
    together(x, h, pairs, GELU, layout, name).sum().backward()
    assert len(calls) == 6


def test_a_bottleneck_after_attention_cannot_read_the_input_of_the_layer(pairs):
    """Only the site after the feed-forward sublayer has that input; the output would be read in its place."""

    class Misplaced(Adapter):
        source = "output"

        def after_attention(self, x, layer):
            raise AssertionError("all tasks are computed together")

        def bottleneck(self, site, layer):
            return Bottleneck(*pairs[0], None, self.source)

    adapter, (x, _) = Misplaced(), inputs(5)
    adapters = SegmentAdapters(Layout([3, 2], [2]), [[adapter]])
    with kernels.using("fused"):
        y = adapters.after_attention(Pending(x), 0).tensor()
        assert torch.equal(y, together(x, x, pairs[:1], None, Layout([3, 2], [2])))
        adapter.source = "layer_input"
        with pytest.raises(AssertionError, match="a bottleneck after_attention cannot read the input of the layer"):
            adapters.after_attention(Pending(x), 0)


def test_rows_of_no_segment_are_not_read(pairs, monkeypatch):
    """A GPU does not write them in a grouped product, so they may be anything."""

    def unwritten(x, y, ends):
        result = grouped_mm(x, y, ends)
        if y.ndim == 3:
            result[int(ends[-1]) :] = torch.nan
        return result

    layout = layout_of()
    results = []
    for function in (grouped_mm, unwritten):
        monkeypatch.setattr(bottlenecks, "grouped_mm", function)
        for name in KERNELS:
            x, h = inputs(layout.num_tokens)
            y = together(x, h, pairs, GELU, layout, name)
            results.append([y, *torch.autograd.grad(y.sum(), [x, h, *parameters_of(pairs)])])
    written, never = results[: len(KERNELS)], results[len(KERNELS) :]
    assert all(torch.equal(*each) for pair in zip(written, never, strict=True) for each in zip(*pair, strict=True))


def test_a_gpu_that_would_wait_computes_each_task_by_itself(pairs, monkeypatch):
    """PyTorch's grouped products read the ends on the CPU unless the compute capability is 9 or 10."""
    fused = pytest.importorskip("mbert_cli.encoder.kernels.triton.fused")
    layout = layout_of()
    x, h = inputs(layout.num_tokens)
    monkeypatch.setattr(fused, "_is_gpu", lambda x: True)
    for major, are_grouped in ((8, False), (9, True), (10, True), (12, False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, major=major: (major, 0))
        assert (together(x, h, pairs, None, layout, "triton") is not None) == are_grouped


def test_a_frozen_layer_gets_no_gradient(pairs):
    layout = layout_of()
    x, h = inputs(layout.num_tokens)
    pairs[1][0].requires_grad_(False)
    together(x, h, pairs, None, layout).sum().backward()
    frozen = {id(parameter) for parameter in pairs[1][0].parameters()}
    assert all((parameter.grad is None) == (id(parameter) in frozen) for parameter in parameters_of(pairs))


def test_results_follow_changed_weights_and_other_combinations_of_tasks(pairs):
    layout, two = layout_of(False), Layout(SEGMENTS[0] + SEGMENTS[1], [2, 1])
    x, h = (each.detach() for each in inputs(layout.num_tokens))
    for _ in range(2):
        with torch.no_grad():
            for parameter in parameters_of(pairs):
                parameter.mul_(2)
        for own, packed in ((pairs, layout), (pairs[:2], two)):
            part = [x[: packed.num_tokens], h[: packed.num_tokens]]
            y, expected = together(*part, own, None, packed), one_by_one(*(e.double() for e in part), own, None, packed)
            assert (y - expected).norm() <= 0.01 * expected.norm()


def test_a_pickled_layer_has_no_copies(pairs):
    layout = layout_of()
    together(*inputs(layout.num_tokens), pairs, None, layout)
    assert pairs[0][0].stacks
    size = len(pickle.dumps(Linear(HIDDEN, RANK)))
    assert len(pickle.dumps(pairs[0][0])) == size


def test_unsupported_bottlenecks_are_not_computed_together(pairs):
    layout = layout_of()
    x, h = inputs(layout.num_tokens)
    other = [*pairs[:2], (Linear(HIDDEN, 4), Linear(4, HIDDEN))]
    assert together(x, h, pairs, None, layout) is not None
    assert together(x, h, other, None, layout) is None
    assert together(x, h, [pairs[0], pairs[1], pairs[0]], None, layout) is None
    assert together(x, h, pairs, nn.functional.silu, layout) is None
    assert together(x.float(), h.float(), pairs, None, layout) is None
    assert together(x, h, pairs, None, layout, "torch") is None
    with torch.no_grad():
        assert together(x, h, pairs, None, layout) is None


def test_only_adapters_of_the_same_kind_are_computed_together():
    one, two = LowRank(SHAPE, rank=4), LowRank(SHAPE, rank=4, activation="gelu")
    assert len(bottlenecks_at("after_feed_forward", 0, [[one], [one], []])) == 2
    assert bottlenecks_at("after_feed_forward", 0, [[one], [], [one]]) is None
    assert bottlenecks_at("after_feed_forward", 0, [[one], [one, one]]) is None
    assert bottlenecks_at("after_feed_forward", 0, [[one], [two]]) is None
    with torch.no_grad():
        assert bottlenecks_at("after_feed_forward", 0, [[one], [one]]) is None
