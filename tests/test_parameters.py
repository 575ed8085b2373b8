import json
import socket

import pytest

from mbert_cli.compose import load_recipe
from mbert_cli.errors import CheckpointError, RecipeError
from mbert_cli.parameters import count

PAPER = "paper/hybrid_low_rank_top"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("opened a socket"))


def test_parameter_counts_match_table_1():
    counts = count(load_recipe(PAPER))
    adapters = counts.as_json()["adapters"]
    assert (adapters["by_formula"], adapters["exact"]) == (32_514_048, 32_578_992)
    assert adapters["times_encoder"] == pytest.approx(1.298, abs=5e-4)
    assert counts.exact("encoder") == 109_482_240  # bert-base-uncased, pooler included
    assert counts.exact("low_rank") == 11_315_376
    assert counts.exact("top") == 21_263_616


def test_heads_are_counted_by_hand():
    heads = {each.task: each.exact for each in count(load_recipe(PAPER)).parts if each.part == "head"}
    assert heads == {"sst": 768 * 5 + 5, "quora": 3 * 768 + 1, "sts": 2 * (768 * 768 + 768)}


def test_counts_of_the_whole_model_add_up():
    found = count(load_recipe(PAPER)).as_json()
    assert found["total"] == sum(part["exact"] for part in found["parts"])
    own = sum(part["exact"] for part in found["parts"] if part["task"])
    assert found["trainable"]["own"] == own
    json.dumps(found)


def test_counts_equal_the_parameters_of_a_real_model(tiny_recipe):
    from mbert_cli.compose import build_model, encoder_shape
    from mbert_cli.encoder.bert import BertEncoder

    recipe = load_recipe(str(tiny_recipe))
    shape = encoder_shape(recipe.encoder)
    model = build_model(recipe, shape, BertEncoder(shape), seed=0)
    assert count(recipe).exact() == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.real_weights
def test_minilm_is_counted_from_its_config(minilm):
    assert count(load_recipe("cs224n_minilm")).exact("encoder") == 22_713_216


def test_large_encoders_are_known_by_name_or_by_their_stated_sizes():
    large = count(load_recipe(PAPER, ["encoder.checkpoint=bert-large-uncased"]))
    assert large.exact("encoder") == 335_141_888
    stated = [
        "encoder.checkpoint=my/own",
        "encoder.shape={hidden_size: 128, num_layers: 2, num_heads: 2, intermediate_size: 512}",
    ]
    # BERT-tiny (Turc et al. 2019) has 4,385,920 parameters.
    assert count(load_recipe(PAPER, [*stated, "adapters[0].rank=8"])).exact("encoder") == 4_385_920


def test_an_encoder_of_unknown_size_is_refused():
    with pytest.raises(CheckpointError, match="my/own"):
        count(load_recipe(PAPER, ["encoder.checkpoint=my/own"]))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("{hiden_size: 8}", r"encoder.shape.hiden_size is not a known key; did you mean 'hidden_size'\?"),
        ("{hidden_size: 0}", "encoder.shape.hidden_size must be greater than or equal to 1, but is 0"),
        ("{num_heads: 7}", r"encoder.shape.num_heads \(7\) must divide the hidden size \(768\)"),
        ("{activation: geluu}", "encoder.shape.activation 'geluu' is not supported. Known: gelu"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(shape, message):
    with pytest.raises(RecipeError, match=message):
        count(load_recipe(PAPER, [f"encoder.shape={shape}"]))
