import pytest
import torch
from peft_bert import compare
from plain_bert import LENGTHS, SEGMENTS, SHAPE, attention, largest_difference, stirred, stream

from mbert_cli.adapters.prefix import Prefix
from mbert_cli.batch import Layout
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape

every_gate = pytest.mark.parametrize("gate", ["zero", "none"])


def alter(plain, prefix):
    """Add the prefix to the attention of a plain encoder: in the sentence's softmax, or, with a gate, separately."""
    for index, layer in enumerate(plain.layers):
        keys, values = prefix.keys[index].detach().double(), prefix.values[index].detach().double()
        if len(prefix.gates):
            weight = torch.tanh(prefix.gates[index].detach().double()).repeat_interleave(12 // 3)
            inner = layer.attend
            layer.attend = lambda q, k, v, inner=inner, p=(keys, values), weight=weight: (
                inner(q, k, v) + weight * attention(q, *p, heads=3)
            )
        else:
            layer.attend = lambda q, k, v, p=(keys, values): attention(
                q, torch.cat([p[0], k]), torch.cat([p[1], v]), heads=3
            )


@every_gate
def test_packed_result_equals_the_equation_sentence_by_sentence(encoder, plain, gate):
    adapters = [stirred(Prefix(SHAPE, length=length, gate=gate), length) for length in (1, 5, 16)]
    for index, prefix in zip((0, 2, 3), adapters, strict=True):
        alter(plain[index], prefix)
    one, two, three = ([prefix] for prefix in adapters)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


def test_a_task_can_have_prefixes_with_and_without_a_gate(encoder, plain):
    prefixes = [
        stirred(Prefix(SHAPE, length=length, gate=gate), length)
        for length, gate in ((2, "none"), (4, "zero"), (3, "none"), (1, "zero"))
    ]
    for layer in range(3):
        ungated = [
            (prefix.keys[layer].detach().double(), prefix.values[layer].detach().double()) for prefix in prefixes[::2]
        ]
        gated = [
            (
                prefix.keys[layer].detach().double(),
                prefix.values[layer].detach().double(),
                torch.tanh(prefix.gates[layer].detach().double()).repeat_interleave(4),
            )
            for prefix in prefixes[1::2]
        ]

        def attend(q, k, v, ungated=ungated, gated=gated):
            keys = torch.cat([*(keys for keys, _ in ungated), k])
            values = torch.cat([*(values for _, values in ungated), v])
            mixed = attention(q, keys, values, heads=3)
            return mixed + sum(weight * attention(q, keys, values, heads=3) for keys, values, weight in gated)

        plain[2].layers[layer].attend = attend
    assert largest_difference(encoder, [[], [], prefixes, []], plain) <= 1e-5


def test_padded_peft_gives_the_same_hidden_states(tiny_checkpoint):
    def copied(model, prefix):
        rows = [x for pair in zip(prefix.keys, prefix.values, strict=True) for x in pair]
        (table,) = (module for name, module in model.named_modules() if name.endswith("embedding"))
        table.weight.data = torch.cat([row.data for row in rows], dim=1)

    # In peft, positions start at the prefix; ours start at 0 after the prefix.
    largest = compare(
        tiny_checkpoint,
        "PrefixTuningConfig",
        {"num_virtual_tokens": 5},
        lambda shape: stirred(Prefix(shape, length=5, gate="none")),
        copied,
        first_position=5,
    )
    assert largest <= 1e-5


@every_gate
def test_sentences_of_every_bucket_see_the_prefix_of_their_own_task(gate):
    lengths, segments = [30, 1, 9, 8, 17, 1, 2, 30], [3, 1, 4]
    shape = EncoderShape(vocab_size=23, hidden_size=12, num_layers=1, num_heads=3, max_positions=32)
    encoder = stirred(PackedEncoder(shape).eval())
    prefixes = [[stirred(Prefix(shape, length=length, gate=gate), length)] for length in (2, 7, 4)]
    packed = stream(lengths, segments)
    together = encoder(*packed, prefixes).split(lengths)
    tasks = [task for task, size in enumerate(segments) for _ in range(size)]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    for one, start, length, task in zip(together, starts, lengths, tasks, strict=True):
        inputs = (part[start : start + length] for part in packed[:3])
        alone = encoder(*inputs, Layout([length]), [prefixes[task]])
        assert torch.allclose(one, alone, atol=1e-5)


def test_attention_to_a_gated_prefix_is_dropped_in_training_only():
    shape = EncoderShape(
        vocab_size=23,
        hidden_size=12,
        num_layers=1,
        num_heads=3,
        intermediate_size=20,
        dropout=0.0,
        attention_dropout=0.5,
    )
    encoder = stirred(PackedEncoder(shape))
    prefix = stirred(Prefix(shape, length=3))
    # Every sentence has one token with the value 0, so only dropout of the prefix's weights can change the result.
    encoder.layers[0].attention.qkv.weight.data[24:] = 0
    encoder.layers[0].attention.qkv.bias.data[24:] = 0
    inputs = (*(each[:8] for each in stream()[:3]), Layout([1] * 8))
    torch.manual_seed(0)
    assert torch.equal(encoder(*inputs), encoder(*inputs))
    assert not torch.equal(encoder(*inputs, [[prefix]]), encoder(*inputs, [[prefix]]))
    encoder.eval()
    assert torch.equal(encoder(*inputs, [[prefix]]), encoder(*inputs, [[prefix]]))


def test_only_gates_start_at_zero():
    torch.manual_seed(0)
    prefix = Prefix(EncoderShape(num_layers=2), length=200)
    assert not any(gate.any() for gate in prefix.gates)
    for values in (*prefix.keys, *prefix.values):
        assert values.std().item() == pytest.approx(0.02, rel=0.01)
    assert len(Prefix(SHAPE, gate="none").gates) == 0


def test_there_is_one_gate_per_head_and_layer():
    assert [tuple(gate.shape) for gate in Prefix(SHAPE).gates] == [(3,)] * 3


def test_the_stream_has_sentences_of_several_buckets_in_several_segments():
    """The other tests need this: a bucket contains sentences of different tasks."""
    layout = Layout(LENGTHS, SEGMENTS)
    assert any(len(segments.unique()) > 2 for segments in layout.bucket_segments)
    assert len(layout.buckets) > 2
