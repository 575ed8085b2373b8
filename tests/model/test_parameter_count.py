import json
import socket

import pytest

from mbert_cli.errors import CheckpointError, RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.parameter_count import compare, count

PAPER = "paper/hybrid_low_rank_top"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("opened a socket"))


def test_parameter_counts_match_table_1():
    counts = count(load_recipe(PAPER))
    adapters = counts.as_json()["adapters"]
    assert (adapters["by_formula"], adapters["exact"]) == (32_514_048, 32_578_992)
    assert adapters["times_encoder"] == pytest.approx(1.298, abs=5e-4)
    assert counts.exact("encoder") == 109_482_240  # bert-base-uncased, including the pooler
    assert counts.exact("low_rank") == 11_315_376
    assert counts.exact("top") == 21_263_616


def test_the_family_of_a_shape_selects_its_sizes():
    # ModernBERT-large, as transformers counts it.
    sizes = "{family: modernbert, hidden_size: 1024, num_layers: 28, num_heads: 16, intermediate_size: 2624}"
    recipe = load_recipe(PAPER, [f"encoder.shape={sizes}", "encoder.checkpoint=my/encoder", "adapters=[]"])
    assert count(recipe).exact("encoder") == 394_781_696
    recipe = load_recipe(PAPER, ["encoder.shape={family: distilbert}", "adapters=[]"])  # bert-base-uncased
    assert count(recipe).exact("encoder") == 66_362_880


def test_a_misspelt_family_is_refused_with_the_nearest_one():
    for checkpoint in ("my/encoder", "bert-base-uncased"):
        settings = ["encoder.shape={family: modernbret}", f"encoder.checkpoint={checkpoint}"]
        with pytest.raises(
            RecipeError, match=r"^encoder.shape.family is 'modernbret'; did you mean 'modernbert'\? Known: "
        ):
            count(load_recipe(PAPER, settings))


def test_heads_are_counted_by_hand():
    heads = {each.task: each.exact for each in count(load_recipe(PAPER)).parts if each.part == "head"}
    assert heads == {"sst": 768 * 5 + 5, "quora": 3 * 768 + 1, "sts": 2 * (768 * 768 + 768)}


def test_counts_of_the_whole_model_add_up():
    found = count(load_recipe(PAPER)).as_json()
    assert found["total"] == sum(part["exact"] for part in found["parts"])
    assert found["bytes"] == {"fp32": 4 * found["total"], "bf16": 2 * found["total"]}
    json.dumps(found)


def test_the_phases_of_the_hybrid_curriculum_list_what_trains():
    found = count(load_recipe(PAPER)).as_json()
    own = {
        task: sum(part["exact"] for part in found["parts"] if part["task"] == task) for task in ("sst", "quora", "sts")
    }
    assert [(phase["epochs"], phase["tasks"], phase["trains"], phase["exact"]) for phase in found["phases"]] == [
        ([1, 3], ["sst"], "own", own["sst"]),
        ([1, 3], ["quora"], "own", own["quora"]),
        ([1, 3], ["sts"], "own", own["sts"]),
        ([2, 4], ["sst", "quora", "sts"], "everything", found["total"]),
    ]


@pytest.mark.parametrize(
    ("curriculum", "phases"),
    [
        ("simultaneous", [([1, 2, 3, 4], 3, "everything")]),
        ("sequential", [([1, 2, 3, 4], 1, "everything")] * 3),
        ("round_robin", [([1, 2, 3, 4], 3, "everything")]),
        ("annealed", [([1, 2, 3, 4], 3, "everything")]),
    ],
)
def test_the_phases_of_other_curricula(curriculum, phases):
    found = count(load_recipe(PAPER, [f"curriculum={curriculum}"])).phases
    assert [(phase.epochs, len(phase.tasks), phase.trains) for phase in found] == phases


# The paper's Table 1 at d_m 768, d_s 204, T 3, L 12: weights; with biases; times BERT-base's 109,482,240.
TABLE_1 = {
    "pal": (5_434_560, 5_459_508, 1.050),
    "low_rank": (11_280_384, 11_315_376, 1.103),
    "houlsby": (22_560_768, 22_630_752, 1.207),
    "top": (21_233_664, 21_263_616, 1.194),
    "low_rank+top": (32_514_048, 32_578_992, 1.298),
}


def test_the_comparison_equals_the_papers_table_1():
    found = compare(PAPER, [], ",".join(TABLE_1), num_tasks=None)
    assert (found.num_tasks, found.encoder, found.shape.hidden_size) == (3, 109_482_240, 768)
    counts = {each.method: (each.by_formula, each.exact, round(each.times_encoder, 3)) for each in found.methods}
    assert counts == TABLE_1
    assert [each.formula for each in found.methods] == [
        "T (2 d_m d_s + L * 3 d_s^2)",
        "T (L * 2 d_m d_s)",
        "T (L * 4 d_m d_s)",
        "T (12 d_m^2)",
        "T (L * 2 d_m d_s) + T (12 d_m^2)",
    ]
    assert {each.size for each in found.methods} == {"rank 204", ""}


@pytest.mark.parametrize("tasks", range(1, 9))
def test_the_comparison_counts_any_number_of_tasks(tasks):
    found = compare(PAPER, [], ",".join(TABLE_1), tasks)
    for each in found.methods:
        by_formula, exact, _ = TABLE_1[each.method]
        assert (each.by_formula * 3, each.exact * 3) == (by_formula * tasks, exact * tasks)


def test_the_comparison_takes_options_budgets_and_other_encoders():
    settings = ["encoder.checkpoint=bert-large-uncased"]
    found = compare(
        PAPER, settings, "pal:rank=96:heads=12,lora:targets=[query,key]:rank=4,low_rank:budget=1%+top", None
    )
    pal, lora, both = found.methods
    assert (pal.size, lora.size, both.method) == ("rank 96", "rank 4", "low_rank+top")
    assert pal.by_formula == 3 * (2 * 1024 * 96 + 24 * 3 * 96 * 96)
    assert lora.exact == 3 * 24 * 2 * 2 * 1024 * 4
    rank = int(both.size.removeprefix("rank "))
    cost = [3 * 24 * (2 * 1024 * each + each + 1024) for each in (rank, rank + 1)]
    assert cost[0] <= found.encoder // 100 < cost[1]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("pal,low_rnk", "--compare 'low_rnk': adapters[0].kind is 'low_rnk'; did you mean 'low_rank'?"),
        ("pal:rnk=3", "--compare 'pal:rnk=3': adapters[0].rnk is not a known key; did you mean 'rank'?"),
        ("pal+top+lowrank", "--compare 'pal+top+lowrank': adapters[2].kind is 'lowrank'"),
        ("", "--compare '': adapters[0] must name a kind"),
        ("pal:budget=1", "--compare 'pal:budget=1': adapters[0].budget is 1, 1 parameters: too few"),
    ],
)
def test_a_misspelt_method_is_refused(methods, message):
    with pytest.raises(RecipeError) as error:
        compare(PAPER, [], methods, None)
    assert error.value.problems[0].startswith(message)


def test_counts_equal_the_parameters_of_a_real_model(tiny_recipe):
    from mbert_cli.encoder.packed_encoder import PackedEncoder
    from mbert_cli.model.compose import build_model, encoder_shape

    recipe = load_recipe(str(tiny_recipe))
    shape = encoder_shape(recipe.encoder)
    model = build_model(recipe, shape, PackedEncoder(shape), seed=0)
    assert count(recipe).exact() == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.real_weights
def test_minilm_is_counted_from_its_config(minilm):
    assert count(load_recipe("cs224n_minilm")).exact("encoder") == 22_713_216


def test_encoders_are_known_by_name_or_by_their_shape():
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
        ("{hidden_size: 0}", "encoder.shape.hidden_size must be at least 1, but is 0"),
        ("{num_heads: 7}", r"encoder.shape.num_heads \(7\) must divide the hidden size \(768\)"),
        ("{activation: geluu}", "encoder.shape.activation 'geluu' is not supported. Known: gelu"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(shape, message):
    with pytest.raises(RecipeError, match=message):
        count(load_recipe(PAPER, [f"encoder.shape={shape}"]))
