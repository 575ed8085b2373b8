import pytest
import torch
from plain_bert import SHAPE, PlainLayer, stirred

from mbert_cli.adapters.low_rank import LowRank
from mbert_cli.adapters.top import Top
from mbert_cli.batch import Batch, Layout
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.heads.classification import Classification
from mbert_cli.model.multi_task_bert import MultiTaskBert, TaskPart
from mbert_cli.pooling.cls import CLS

LENGTHS = [3, 9, 1, 17, 2]


def test_it_starts_as_a_copy_of_the_last_layer():
    encoder = stirred(PackedEncoder(SHAPE))
    last = encoder.layers[-1]
    top = Top(SHAPE)
    top.start_from(encoder)
    assert top.layer.state_dict().keys() == last.state_dict().keys()
    assert all(torch.equal(value, last.state_dict()[name]) for name, value in top.layer.state_dict().items())


def test_the_copy_does_not_share_memory_with_the_last_layer():
    encoder = stirred(PackedEncoder(SHAPE))
    last = encoder.layers[-1]
    top = Top(SHAPE)
    top.start_from(encoder)
    before = last.output.weight.clone()
    with torch.no_grad():
        top.layer.output.weight.zero_()
    assert torch.equal(last.output.weight, before)


def test_a_random_start_has_berts_initial_values():
    torch.manual_seed(0)
    shape = EncoderShape(num_layers=1)
    encoder = stirred(PackedEncoder(shape))
    last = encoder.layers[-1]
    top = Top(shape, init="random")
    top.start_from(encoder)
    weight = top.layer.intermediate.weight
    assert not torch.equal(weight, last.intermediate.weight)
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert not top.layer.intermediate.bias.any()
    assert (top.layer.output_norm.weight == 1).all()


def test_packed_result_equals_a_plain_layer_sentence_by_sentence():
    top = stirred(Top(SHAPE)).eval()
    x = torch.randn(sum(LENGTHS), 12, generator=torch.Generator().manual_seed(2))
    plain = torch.cat([PlainLayer(top.layer)(part) for part in x.double().split(LENGTHS)])
    assert (top.on_top(x, Layout(LENGTHS)) - plain).abs().max() <= 1e-5


def test_it_acts_only_after_the_last_layer():
    torch.manual_seed(0)
    encoder, top = PackedEncoder(SHAPE).eval(), stirred(Top(SHAPE))
    ids = torch.arange(5)
    inputs = (ids, torch.zeros_like(ids), ids, Layout([5]))
    assert torch.equal(encoder(*inputs, [[top]]), top.on_top(encoder(*inputs), inputs[-1]))


def test_each_tasks_layer_acts_on_its_own_sentences_before_pooling():
    torch.manual_seed(0)
    encoder = stirred(PackedEncoder(SHAPE))
    tops = {"a": stirred(Top(SHAPE), 1), "b": stirred(Top(SHAPE), 2)}
    parts = {
        name: TaskPart([LowRank(SHAPE, rank=2), top], Classification(12, num_classes=2)) for name, top in tops.items()
    }
    model = MultiTaskBert(encoder, CLS(), parts).eval()
    ids = torch.tensor([2, 7, 3, 2, 9, 8, 3])
    layout = Layout([3, 4], [1, 1])
    batch = Batch(ids, torch.zeros_like(ids), torch.tensor([0, 1, 2, 0, 1, 2, 3]), layout, ("a", "b"), {})
    h = encoder(ids, batch.token_types, batch.positions, layout)
    outputs = model(batch)
    for name, part in zip("ab", h.split([3, 4]), strict=True):
        expected = model.head(name).linear(PlainLayer(tops[name].layer)(part.double())[:1].float())
        assert (outputs[name] - expected).abs().max() <= 1e-5
