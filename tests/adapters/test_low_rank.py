import json

import pytest
import torch
from torch import nn

from mbert_cli.adapters.low_rank import LowRank
from mbert_cli.batch import Layout
from mbert_cli.compose import load_recipe, meta_model
from mbert_cli.encoder.bert import BertEncoder
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError
from mbert_cli.parameters import count

SHAPE = EncoderShape(
    vocab_size=23, hidden_size=12, num_layers=3, num_heads=3, intermediate_size=20, max_positions=24, dropout=0.0,
    attention_dropout=0.0,
)  # fmt: skip
LENGTHS, SEGMENTS = [3, 9, 1, 17, 2, 9, 4], [2, 4, 1]


@pytest.fixture
def encoder() -> BertEncoder:
    torch.manual_seed(0)
    encoder = BertEncoder(SHAPE).eval()
    for parameter in encoder.parameters():  # LayerNorms and biases too
        nn.init.normal_(parameter, std=0.5)
    return encoder


def stirred(adapter: LowRank, seed: int) -> LowRank:
    """An adapter whose every value matters."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.4
    return adapter


def stream() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Layout]:
    ids = torch.randint(0, SHAPE.vocab_size, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    return ids, torch.zeros_like(ids), positions, Layout(LENGTHS, SEGMENTS)


def plain_attention(layer: EncoderLayer, h: torch.Tensor) -> torch.Tensor:
    """Multi-head attention of one sentence, head by head."""
    size = SHAPE.hidden_size // SHAPE.num_heads
    q, k, v = (h @ layer.attention.qkv.weight.T + layer.attention.qkv.bias).chunk(3, dim=-1)
    heads = []
    for head in range(SHAPE.num_heads):
        own = slice(head * size, (head + 1) * size)
        heads.append(torch.softmax(q[:, own] @ k[:, own].T / size**0.5, dim=-1) @ v[:, own])
    return layer.attention.output(torch.cat(heads, dim=-1))


def plain_layer(layer: EncoderLayer, h: torch.Tensor, adapter: LowRank, index: int, between) -> torch.Tensor:
    """The paper's BL(h) = LN(x + FFN(x) + TS(h)), x = LN(h + MH(h)), TS(h) = V_D V_E h, of one sentence."""
    x = layer.attention_norm(h + plain_attention(layer, h))
    ffn = layer.output(nn.functional.gelu(layer.intermediate(x)))
    down, up = adapter.down[index], adapter.up[index]
    ts = between(h @ down.weight.T + down.bias) @ up.weight.T + up.bias
    return layer.output_norm(x + ffn + ts)


def test_a_fresh_adapter_leaves_the_encoder_exactly_unchanged(encoder):
    ids, types, positions, layout = stream()
    adapters = [[LowRank(SHAPE, rank=5)], [LowRank(SHAPE, rank=2)], []]
    assert torch.equal(encoder(ids, types, positions, layout, adapters), encoder(ids, types, positions, layout))


@pytest.mark.parametrize(("activation", "between"), [("none", lambda x: x), ("gelu", nn.functional.gelu)])
def test_packed_result_equals_the_papers_equation_sentence_by_sentence(encoder, activation, between):
    ids, types, positions, layout = stream()
    adapters = [stirred(LowRank(SHAPE, rank=4, activation=activation), seed) for seed in range(3)]
    packed = encoder(ids, types, positions, layout, [[adapter] for adapter in adapters])
    task_of_sentence = [task for task, size in enumerate(SEGMENTS) for _ in range(size)]
    plain, start = [], 0
    for length, task in zip(LENGTHS, task_of_sentence, strict=True):
        own = ids[start : start + length]
        h = (
            encoder.word_embeddings(own)
            + encoder.position_embeddings.weight[:length]
            + encoder.type_embeddings.weight[0]
        )
        h = encoder.embedding_norm(h)
        for index, layer in enumerate(encoder.layers):
            h = plain_layer(layer, h, adapters[task], index, between)
        plain.append(h)
        start += length
    assert (packed - torch.cat(plain)).abs().max() <= 1e-5


def test_a_tasks_adapter_changes_its_own_sentences_only(encoder):
    ids, types, positions, layout = stream()
    adapters = [[], [stirred(LowRank(SHAPE, rank=4), 0)], []]
    change = (encoder(ids, types, positions, layout, adapters) - encoder(ids, types, positions, layout)).abs().amax(1)
    first, second, third = change.split([12, 29, 4])
    assert (second > 1e-3).all()
    assert (first < 1e-5).all()
    assert (third < 1e-5).all()


def test_two_adapters_of_a_task_add_up(encoder):
    torch.manual_seed(0)
    one, two = stirred(LowRank(SHAPE, rank=2), 1), stirred(LowRank(SHAPE, rank=3), 2)
    x, h = torch.randn(5, 12), torch.randn(5, 12)
    layout = Layout([5])
    both = two.after_feed_forward(one.after_feed_forward(x, h, 1, layout), h, 1, layout)
    expected = x + (h @ one.down[1].weight.T + one.down[1].bias) @ one.up[1].weight.T + one.up[1].bias
    expected = expected + (h @ two.down[1].weight.T + two.down[1].bias) @ two.up[1].weight.T + two.up[1].bias
    assert torch.allclose(both, expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_gradients_are_those_of_finite_differences(activation):
    shape = EncoderShape(hidden_size=4, num_layers=1, num_heads=1)
    adapter = stirred(LowRank(shape, rank=2, activation=activation).double(), 3)
    x, h = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    parameters = [each.requires_grad_() for each in adapter.parameters()]
    apply = lambda x, h, *_: adapter.after_feed_forward(x, h, 0, Layout([3]))  # noqa: E731
    assert torch.autograd.gradcheck(apply, (x, h, *parameters))


def test_the_up_projection_starts_at_zero_and_the_down_projection_does_not():
    adapter = LowRank(SHAPE, rank=4)
    for down, up in zip(adapter.down, adapter.up, strict=True):
        assert not up.weight.any()
        assert not up.bias.any()
        assert not down.bias.any()
        assert down.weight.abs().sum() > 0


def test_the_up_projection_may_start_at_random():
    torch.manual_seed(0)
    adapter = LowRank(EncoderShape(num_layers=1), rank=204, init_std=0.02)
    # 156,672 draws: their standard deviation lies within 1 % of the wanted one.
    assert adapter.up[0].weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert not adapter.up[0].bias.any()


def test_layers_share_nothing():
    adapter = LowRank(SHAPE, rank=4)
    assert len({parameter.data_ptr() for parameter in adapter.parameters()}) == SHAPE.num_layers * 4


@pytest.mark.parametrize("rank", [13, 999])
def test_a_rank_above_the_hidden_size_is_refused(rank):
    with pytest.raises(OptionError, match=rf"^rank must be at most 12 \(the hidden size\), but is {rank}\.$"):
        LowRank(SHAPE, rank=rank)


def test_a_rank_of_the_hidden_size_is_allowed():
    assert LowRank(SHAPE, rank=12).num_weights() == 3 * 2 * 12 * 12


def bert_base(tmp_path, tasks: int, adapters: list[dict]) -> str:
    task = {"train": "t", "dev": "d", "text": "x", "label": "y", "head": {"kind": "classification", "num_classes": 2}}
    recipe = {
        "encoder": {"checkpoint": "bert-base-uncased"},
        "adapters": adapters,
        "tasks": {f"task{i}": task for i in range(tasks)},
    }
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("tasks", range(1, 9))
def test_parameter_counts_match_table_1(tmp_path, tasks):
    recipe = load_recipe(bert_base(tmp_path, tasks, [{"kind": "low_rank", "rank": 204}]))
    model = meta_model(recipe, EncoderShape())
    adapters = [model.task(name).adapter_list()[0] for name in model.task_names]
    matrices = [p for adapter in adapters for p in adapter.parameters() if p.ndim == 2]
    assert sum(adapter.num_weights() for adapter in adapters) == tasks * 12 * 2 * 768 * 204
    assert sum(p.numel() for p in matrices) == tasks * 12 * 2 * 768 * 204
    everything = sum(p.numel() for adapter in adapters for p in adapter.parameters())
    assert everything == tasks * 12 * (2 * 768 * 204 + 204 + 768)


def test_three_tasks_have_the_counts_of_the_table(tmp_path):
    recipe = load_recipe(bert_base(tmp_path, 3, [{"kind": "low_rank"}]))
    counts = count(recipe).as_json()
    assert counts["adapters"]["by_formula"] == 11_280_384
    assert counts["adapters"]["exact"] == 11_315_376
    assert round(counts["adapters"]["times_encoder"], 3) == 1.103


def test_low_rank_and_top_have_the_counts_of_the_table(tmp_path):
    recipe = load_recipe(bert_base(tmp_path, 3, [{"kind": "low_rank"}, {"kind": "top"}]))
    counts = count(recipe).as_json()
    assert counts["adapters"]["by_formula"] == 32_514_048
    assert counts["adapters"]["exact"] == 32_578_992
    assert round(counts["adapters"]["times_encoder"], 3) == 1.298
