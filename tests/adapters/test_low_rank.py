import json

import pytest
import torch
from plain_bert import SHAPE, gelu, largest_difference, linear, stirred, weights_of

from mbert_cli.adapters.low_rank import LowRank
from mbert_cli.batch import Layout
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.parameter_count import count


def task_specific(down, up, between):
    """FFN(x) + TS(h), TS(h) = V_D between(V_E h)."""
    down, up = weights_of(down), weights_of(up)
    return lambda fed, h: fed + linear(between(linear(h, down)), up)


@pytest.mark.parametrize(("activation", "between"), [("none", lambda x: x), ("gelu", gelu)])
def test_packed_result_equals_the_papers_equation_sentence_by_sentence(encoder, plain, activation, between):
    adapters = [stirred(LowRank(SHAPE, rank=rank, activation=activation), rank) for rank in (1, 4, 12)]
    for index, adapter in zip((0, 2, 3), adapters, strict=True):
        for layer, *projections in zip(plain[index].layers, adapter.down, adapter.up, strict=True):
            layer.after_feed_forward = task_specific(*projections, between)
    one, two, three = ([adapter] for adapter in adapters)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


def test_the_effects_of_two_adapters_of_a_task_add_up(encoder):
    torch.manual_seed(0)
    one, two = stirred(LowRank(SHAPE, rank=2), 1), stirred(LowRank(SHAPE, rank=3), 2)
    x, h = torch.randn(5, 12), torch.randn(5, 12)
    layout = Layout([5])
    both = two.after_feed_forward(one.after_feed_forward(x, h, 1, layout), h, 1, layout)
    expected = x + (h @ one.down[1].weight.T + one.down[1].bias) @ one.up[1].weight.T + one.up[1].bias
    expected = expected + (h @ two.down[1].weight.T + two.down[1].bias) @ two.up[1].weight.T + two.up[1].bias
    assert torch.allclose(both, expected, atol=1e-5)


def test_the_up_projection_starts_at_zero_and_the_down_projection_does_not():
    adapter = LowRank(SHAPE, rank=4)
    for down, up in zip(adapter.down, adapter.up, strict=True):
        assert not up.weight.any()
        assert not up.bias.any()
        assert not down.bias.any()
        assert down.weight.abs().sum() > 0


def test_the_up_projection_can_start_with_random_values():
    torch.manual_seed(0)
    adapter = LowRank(EncoderShape(num_layers=1), rank=204, init_std=0.02)
    # 156,672 draws: their standard deviation is within 1 % of the expected value.
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
