import pytest
import torch
from torch import nn

from mbert_cli.adapters.low_rank import LowRank
from mbert_cli.adapters.top import Top
from mbert_cli.batch import Batch, Layout
from mbert_cli.encoder.bert import BertEncoder
from mbert_cli.encoder.initialisation import initialise
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.heads.classification import Classification
from mbert_cli.model import MultiTaskBert, TaskPart
from mbert_cli.pooling.cls import Cls

SHAPE = EncoderShape(
    vocab_size=23, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_positions=24, dropout=0.0,
    attention_dropout=0.0,
)  # fmt: skip
LENGTHS = [3, 9, 1, 17, 2]


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """A module whose every value matters, LayerNorms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.5
    return module


def plain_layer(layer: EncoderLayer, h: torch.Tensor) -> torch.Tensor:
    """LN(x + FFN(x)) with x = LN(h + MH(h)), of one sentence, by torch's own attention module."""
    attention = nn.MultiheadAttention(SHAPE.hidden_size, SHAPE.num_heads, batch_first=True, dtype=h.dtype)
    attention.in_proj_weight.data, attention.in_proj_bias.data = layer.attention.qkv.weight, layer.attention.qkv.bias
    attention.out_proj.load_state_dict(layer.attention.output.state_dict())
    x = layer.attention_norm(h + attention(h[None], h[None], h[None], need_weights=False)[0][0])
    return layer.output_norm(x + layer.output(nn.functional.gelu(layer.intermediate(x))))


def test_it_starts_as_a_copy_of_the_last_layer():
    last = stirred(EncoderLayer(SHAPE))
    top = Top(SHAPE)
    top.start_from(last)
    assert top.layer.state_dict().keys() == last.state_dict().keys()
    assert all(torch.equal(value, last.state_dict()[name]) for name, value in top.layer.state_dict().items())


def test_a_copy_is_no_view_of_the_last_layer():
    last = stirred(EncoderLayer(SHAPE))
    top = Top(SHAPE)
    top.start_from(last)
    before = last.output.weight.clone()
    with torch.no_grad():
        top.layer.output.weight.zero_()
    assert torch.equal(last.output.weight, before)


def test_a_random_start_is_not_the_last_layer_but_berts_own_initial_values():
    torch.manual_seed(0)
    last = stirred(EncoderLayer(EncoderShape()))
    top = Top(EncoderShape(), init="random")
    top.start_from(last)
    weight = top.layer.intermediate.weight
    assert not torch.equal(weight, last.intermediate.weight)
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert not top.layer.intermediate.bias.any()
    assert (top.layer.output_norm.weight == 1).all()


def test_packed_result_equals_a_plain_layer_sentence_by_sentence():
    top = stirred(Top(SHAPE)).eval()
    x = torch.randn(sum(LENGTHS), 12, generator=torch.Generator().manual_seed(2))
    plain = torch.cat([plain_layer(top.layer, part) for part in x.split(LENGTHS)])
    assert (top.on_top(x, Layout(LENGTHS)) - plain).abs().max() <= 1e-5


def test_it_acts_inside_no_layer():
    torch.manual_seed(0)
    encoder, top = BertEncoder(SHAPE).eval(), stirred(Top(SHAPE))
    ids = torch.arange(5)
    inputs = (ids, torch.zeros_like(ids), ids, Layout([5]))
    assert torch.equal(encoder(*inputs, [[top]]), top.on_top(encoder(*inputs), inputs[-1]))


def test_each_tasks_layer_acts_on_its_own_sentences_before_pooling():
    torch.manual_seed(0)
    encoder = stirred(BertEncoder(SHAPE))
    tops = {"a": stirred(Top(SHAPE), 1), "b": stirred(Top(SHAPE), 2)}
    parts = {
        name: TaskPart([LowRank(SHAPE, rank=2), top], Classification(12, num_classes=2)) for name, top in tops.items()
    }
    model = MultiTaskBert(encoder, Cls(), parts).eval()
    ids = torch.tensor([2, 7, 3, 2, 9, 8, 3])
    layout = Layout([3, 4], [1, 1])
    batch = Batch(ids, torch.zeros_like(ids), torch.tensor([0, 1, 2, 0, 1, 2, 3]), layout, ("a", "b"), {})
    h = encoder(ids, batch.token_types, batch.positions, layout)
    outputs = model(batch)
    for name, part in zip("ab", h.split([3, 4]), strict=True):
        expected = model.head(name).linear(plain_layer(tops[name].layer, part)[:1])
        assert (outputs[name] - expected).abs().max() <= 1e-5


def test_gradients_are_those_of_finite_differences():
    shape = EncoderShape(
        hidden_size=4,
        num_layers=1,
        num_heads=2,
        intermediate_size=6,
        layer_norm_eps=1e-5,
        dropout=0.0,
        attention_dropout=0.0,
    )
    torch.manual_seed(4)
    top = Top(shape).double()
    initialise(top.layer)
    x = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    parameters = list(top.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: top.on_top(x, Layout([3, 1])), (x, *parameters))


@pytest.mark.parametrize("tasks", range(1, 9))
def test_parameter_counts_match_table_1(tasks):
    with torch.device("meta"):
        tops = [Top(EncoderShape()) for _ in range(tasks)]
    assert sum(top.num_weights() for top in tops) == tasks * 12 * 768**2
    assert sum(p.numel() for top in tops for p in top.parameters() if p.ndim == 2) == tasks * 12 * 768**2
    assert sum(p.numel() for top in tops for p in top.parameters()) == tasks * 7_087_872


def test_three_tasks_have_the_counts_of_the_table():
    assert 3 * 7_087_872 == 21_263_616  # FACTS' two numbers agree
    with torch.device("meta"):
        assert 3 * Top(EncoderShape()).num_weights() == 21_233_664
