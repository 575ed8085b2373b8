"""Tests of every adapter and of every pair of adapters."""

import functools
from dataclasses import replace
from fnmatch import fnmatch

import pytest
import torch
from components import CHANGING_FROM_THE_START, built, components, every, every_pair_of_adapters, name
from plain_bert import LENGTHS, SEGMENTS, SHAPE, Stream, stirred, stream

from mbert_cli.batch import Layout
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.packed_encoder import PackedEncoder

TOKENS = stream().layout.segment_tokens
# Biases of keys have no effect: they add the same number to all scores of a query, which does not change the softmax.
BIASES_OF_KEYS = {"bitfit": "layers.*.qkv", "pal": "qkv.*.bias", "top": "layer.attention.qkv.bias"}


def fresh(kind, options, encoder):
    adapter = built("adapters", kind, options, SHAPE)
    adapter.start_from(encoder)
    return adapter.eval()


def of_segments(kind, options, encoder, segments):
    """A separate adapter with random values for some segments; none for the others."""
    return [[stirred(fresh(kind, options, encoder), seed)] if seed in segments else [] for seed in range(len(SEGMENTS))]


@functools.cache
def states_without_adapters(gradients: bool = True) -> torch.Tensor:
    """Return the states of the encoder of the tests, which is the same in every test."""
    with torch.set_grad_enabled(gradients):
        return stirred(PackedEncoder(SHAPE).eval())(*stream()).detach()


@functools.cache
def states_with_one(adapter: str, seed: int) -> torch.Tensor:
    """Return the states, without gradients, if the third segment has one adapter with random values."""
    encoder = stirred(PackedEncoder(SHAPE).eval())
    own = next(each for each in components("adapters") if name(*each) == adapter)
    with torch.no_grad():
        return encoder(*stream(), [[], [], [stirred(fresh(*own, encoder), seed)], []])


def reordered(packed: Stream, order: list[int]) -> Stream:
    """Return the same segments in another order."""
    lengths = [own.lengths.tolist() for own in packed.layout.segments]
    parts = ([part.split(TOKENS)[index] for index in order] for part in packed[:3])
    layout = Layout([n for index in order for n in lengths[index]], [len(lengths[index]) for index in order])
    return Stream(*(torch.cat(own) for own in parts), layout)


@every("adapters")
def test_a_fresh_one_leaves_the_encoder_exactly_unchanged(encoder, kind, options):
    adapters = [[fresh(kind, options, encoder)] for _ in SEGMENTS]
    unchanged = (kind, options) not in CHANGING_FROM_THE_START
    assert torch.equal(encoder(*stream(), adapters), states_without_adapters()) is unchanged
    with torch.no_grad():
        assert torch.equal(encoder(*stream(), adapters), states_without_adapters(gradients=False)) is unchanged


@every("adapters")
@pytest.mark.parametrize("segment", range(len(SEGMENTS)))
def test_it_changes_only_the_tokens_of_its_segment(encoder, kind, options, segment):
    adapters = of_segments(kind, options, encoder, [segment])
    change = (encoder(*stream(), adapters) - states_without_adapters()).abs().amax(1).split(TOKENS)
    for index, tokens in enumerate(change):
        assert (tokens > 1e-3).all() if index == segment else (tokens < 1e-5).all()


@every("adapters")
def test_every_value_has_a_gradient(kind, options):
    encoder = stirred(PackedEncoder(SHAPE).eval()).double()
    adapter = stirred(fresh(kind, options, encoder), std=0.2).double()
    found = encoder(*stream(), [[adapter] for _ in SEGMENTS])
    weights = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (found * weights).sum().backward()
    for parameter_name, parameter in adapter.named_parameters():
        gradient, least = parameter.grad, 1e-10 * parameter.grad.abs().max()
        if kind in BIASES_OF_KEYS and fnmatch(parameter_name, BIASES_OF_KEYS[kind]):
            query, key, value = gradient.chunk(3)
            assert key.abs().max() < least
            gradient = torch.cat([query, value])
        assert gradient.abs().min() > least, parameter_name


@every("adapters")
def test_a_fresh_one_has_a_gradient(encoder, kind, options):
    adapter = fresh(kind, options, encoder)
    encoder(*stream(), [[adapter] for _ in SEGMENTS]).pow(3).sum().backward()
    assert any(parameter.grad.abs().max() > 1e-4 for parameter in adapter.parameters())


@every("adapters")
def test_packed_sentences_have_the_same_states_as_single_sentences(encoder, kind, options):
    packed, adapters = stream(), of_segments(kind, options, encoder, [0, 2, 3])
    tasks = [task for task, size in enumerate(SEGMENTS) for _ in range(size)]
    columns = zip(*(part.split(LENGTHS) for part in packed[:3]), strict=True)
    alone = [encoder(*own, Layout([len(own[0])]), [adapters[task]]) for own, task in zip(columns, tasks, strict=True)]
    assert (encoder(*packed, adapters) - torch.cat(alone)).abs().max() <= 1e-5


@every("adapters")
@pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 0, 3, 1]])
def test_the_order_of_the_segments_does_not_matter(encoder, kind, options, order):
    adapters = of_segments(kind, options, encoder, [0, 2, 3])
    expected = encoder(*stream(), adapters).split(TOKENS)
    found = encoder(*reordered(stream(), order), [adapters[index] for index in order])
    assert (found - torch.cat([expected[index] for index in order])).abs().max() <= 1e-5


@every("adapters")
def test_training_with_dropout_repeats_with_the_seed(kind, options):
    shape = replace(SHAPE, dropout=0.2, attention_dropout=0.2)
    encoder = stirred(PackedEncoder(shape)).train()
    adapter = stirred(built("adapters", kind, options, shape)).train()

    def step(seed):
        torch.manual_seed(seed)
        adapter.zero_grad()
        found = encoder(*stream(), [[adapter], [], [adapter], []])
        found.pow(2).sum().backward()
        return [found.detach(), *(parameter.grad.clone() for parameter in adapter.parameters())]

    first, again, other = step(1), step(1), step(2)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert all(value.isfinite().all() for value in first)
    assert not torch.equal(first[0], other[0])


@every("adapters")
@pytest.mark.parametrize("gradients", [True, False])
def test_in_bf16_it_has_nearly_the_same_effect_as_in_fp32(encoder, kind, options, gradients):
    adapters = of_segments(kind, options, encoder, [2])
    with torch.set_grad_enabled(gradients):
        exact = encoder(*stream(), adapters).split(TOKENS)
        with torch.autocast("cpu", torch.bfloat16):
            bare, found = encoder(*stream()).split(TOKENS), encoder(*stream(), adapters).split(TOKENS)
    assert found[2].isfinite().all()
    assert found[2].dtype == bare[2].dtype == torch.bfloat16
    # One rounding to bf16 changes a value by 2^-9; without adapters the mean of all rounding errors is .0015.
    assert (found[2] - exact[2]).abs().mean() < 0.005
    assert (found[2] - bare[2]).abs().mean() > 0.02
    if kind != "prefix":  # a prefix makes the attention blocks of all sentences wider, which changes the rounding
        assert all(torch.equal(found[index], bare[index]) for index in (0, 1, 3))


class Spy(Adapter):
    """An adapter that changes nothing and records the data type at every site."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def record(self, x, *place):
        self.seen.append((*place, x.dtype))
        return x

    def before_linear(self, x, name, layer):
        return self.record(x, "before", name, layer)

    def after_linear(self, y, x, name, layer):
        return self.record(y, "after", name, layer)

    def after_norm(self, y, name, layer):
        return self.record(y, name, layer)

    def after_attention(self, x, layer):
        return self.record(x, "attention", layer)

    def after_feed_forward(self, x, layer_input, layer, layout):
        return self.record(x, "feed_forward", layer)

    def on_top(self, x, layout):
        return self.record(x, "top")


@every("adapters")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_does_not_change_the_data_type_of_any_site(encoder, kind, options, dtype):
    expected, found = Spy(), Spy()
    adapters = of_segments(kind, options, encoder, [2])
    adapters[2].append(found)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        encoder(*stream(), [[], [], [expected], []])
        encoder(*stream(), adapters)
    assert len(expected.seen) == 2 + 3 * (2 * 4 + 2 + 2)
    assert found.seen == expected.seen


@every("adapters")
def test_a_task_without_sentences_is_allowed(encoder, kind, options):
    packed = stream()
    adapters = [stirred(fresh(kind, options, encoder), seed) for seed in range(3)]
    layout = Layout(LENGTHS, [0, 3, 0, 4, 0])
    some = encoder(*packed[:3], layout, [[adapters[2]], [adapters[0]], [adapters[2]], [adapters[1]], [adapters[2]]])
    expected = encoder(*packed[:3], Layout(LENGTHS, [3, 4]), [[adapters[0]], [adapters[1]]])
    assert torch.equal(some, expected)
    some.sum().backward()  # the adapter without sentences gets no gradient
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in adapters[2].parameters())
    assert encoder(*stream([], [0, 0]), [[adapters[0]], [adapters[1]]]).shape == (0, 12)


@every("adapters")
def test_a_single_sentence_of_one_token_is_allowed(encoder, kind, options):
    packed = stream([1], None)
    adapter = stirred(fresh(kind, options, encoder))
    found = encoder(*packed, [[adapter]])
    twice = Stream(*(part.repeat(2) for part in packed[:3]), Layout([1, 1]))
    assert found.isfinite().all()
    assert not torch.equal(found, encoder(*packed))
    assert torch.allclose(encoder(*twice, [[adapter]]), found.expand(2, 12), atol=1e-5)


@every("adapters")
def test_loading_its_state_into_another_one_gives_the_same_result(encoder, kind, options):
    adapter, other = stirred(fresh(kind, options, encoder), 1), stirred(fresh(kind, options, encoder), 2)
    expected = encoder(*stream(), [[adapter], [], [], [adapter]])
    assert not torch.equal(encoder(*stream(), [[other], [], [], [other]]), expected)
    other.load_state_dict(adapter.state_dict())
    assert torch.equal(encoder(*stream(), [[other], [], [], [other]]), expected)


@every("adapters")
def test_an_adapter_is_built_without_memory_on_the_meta_device(kind, options):
    with torch.device("meta"):
        adapter = built("adapters", kind, options, SHAPE)
    real = built("adapters", kind, options, SHAPE)
    assert all(parameter.is_meta for parameter in adapter.parameters())
    assert sum(p.numel() for p in adapter.parameters()) == sum(p.numel() for p in real.parameters())
    assert adapter.num_weights() == real.num_weights()


@every_pair_of_adapters()
def test_fresh_pairs_leave_the_encoder_exactly_unchanged(encoder, pair):
    adapters = [[fresh(*each, encoder) for each in pair]] * len(SEGMENTS)
    unchanged = not any(each in CHANGING_FROM_THE_START for each in pair)
    assert torch.equal(encoder(*stream(), adapters), states_without_adapters()) is unchanged


@every_pair_of_adapters()
def test_both_adapters_of_a_pair_act_and_learn(encoder, pair):
    one, two = (stirred(fresh(*each, encoder), seed) for seed, each in enumerate(pair, 1))
    both = encoder(*stream(), [[], [], [one, two], []])
    alone = [states_with_one(name(*each), seed) for seed, each in enumerate(pair, 1)]
    for states in (*alone, states_without_adapters(gradients=False)):
        assert (states - both).split(TOKENS)[2].abs().max() > 1e-4
    both.pow(3).sum().backward()
    for adapter in (one, two):
        for parameter_name, parameter in adapter.named_parameters():
            assert parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.any(), parameter_name
