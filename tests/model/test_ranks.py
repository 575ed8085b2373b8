import pytest

from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.parameter_count import count
from mbert_cli.model.ranks import with_ranks

PAPER = "paper/hybrid_low_rank_top"
BASE = EncoderShape()
ENCODER = 109_482_240  # bert-base-uncased


def solved(adapter: str, *settings: str) -> dict:
    return with_ranks(load_recipe(PAPER, [f"adapters=[{adapter}]", *settings]), BASE).adapters[0].options


def low_rank(rank: int, tasks: int = 3) -> int:
    return tasks * 12 * (2 * 768 * rank + rank + 768)


def pal(rank: int, tasks: int = 3) -> int:
    return tasks * (2 * 768 * rank + rank + 768 + 12 * (3 * rank * rank + 3 * rank))


@pytest.mark.parametrize(
    ("budget", "limit"), [("1.103355x", ENCODER * 103355 // 1_000_000), ("5%", ENCODER * 5 // 100), ("2M", 2_000_000)]
)
def test_low_rank_gets_the_largest_rank_within_the_budget(budget, limit):
    options = solved(f"{{kind: low_rank, budget: {budget}}}")
    assert options.keys() == {"rank"}
    assert low_rank(options["rank"]) <= limit < low_rank(options["rank"] + 1)


def test_a_budget_equal_to_the_parameters_of_a_rank_gives_that_rank():
    assert solved(f"{{kind: low_rank, budget: {low_rank(100)}}}")["rank"] == 100
    assert solved(f"{{kind: low_rank, budget: {low_rank(100) - 1}}}")["rank"] == 99


@pytest.mark.parametrize("heads", [1, 5, 6, 12])
def test_pal_gets_a_rank_that_is_a_multiple_of_its_heads(heads):
    options = solved(f"{{kind: pal, heads: {heads}, budget: 5%}}")
    assert options["heads"] == heads
    assert options["rank"] % heads == 0
    assert pal(options["rank"]) <= ENCODER // 20 < pal(options["rank"] + heads)


def test_a_budget_covers_all_tasks():
    recipe = load_recipe(PAPER, ["adapters=[{kind: low_rank, budget: 2M}]"])
    single = recipe.model_copy(update={"tasks": {"sst": recipe.tasks["sst"]}})
    rank = with_ranks(single, BASE).adapters[0].options["rank"]
    assert low_rank(rank, tasks=1) <= 2_000_000 < low_rank(rank + 1, tasks=1)


def test_a_prefix_gets_a_length():
    options = solved("{kind: prefix, gate: none, budget: 300k}")
    assert 3 * 12 * 2 * options["length"] * 768 <= 300_000 < 3 * 12 * 2 * (options["length"] + 1) * 768


def test_ranks_are_at_most_the_hidden_size():
    assert solved("{kind: low_rank, budget: 100x}")["rank"] == 768


def test_adapters_without_a_budget_do_not_change():
    recipe = load_recipe(PAPER, ["adapters=[{kind: top}, {kind: lora, budget: 1%, targets: [key]}, {kind: low_rank}]"])
    top, lora, low = with_ranks(recipe, BASE).adapters
    assert (top.spec(), low.spec()) == ({"kind": "top"}, {"kind": "low_rank"})
    assert lora.options["targets"] == ["key"]
    assert 3 * 12 * 2 * 768 * lora.options["rank"] <= ENCODER // 100


def test_a_budget_of_null_is_no_budget():
    settings = ["adapters=[{kind: low_rank, rank: 7, budget: 5%}]", "adapters[0].budget=null"]
    assert count(load_recipe(PAPER, settings)).adapters[0].exact == low_rank(7, tasks=1)


def test_a_recipe_without_budgets_is_the_same_object():
    recipe = load_recipe(PAPER)
    assert with_ranks(recipe, BASE) is recipe


def test_methods_with_the_same_budget_have_nearly_the_same_number_of_parameters():
    for kind in ("pal", "low_rank", "houlsby", "lora"):
        counts = count(load_recipe(PAPER, [f"adapters=[{{kind: {kind}, budget: 4%}}]"]))
        share = sum(each.exact for each in counts.adapters) / counts.exact("encoder")
        assert 0.037 < share <= 0.04


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("{kind: pal, budget: 10k}", "adapters[0].budget is '10k', 10,000 parameters: too few for the smallest rank"),
        ("{kind: pal, heads: 5000, budget: 50%}", "too few for the smallest rank of pal in 3 task(s)"),
    ],
)  # fmt: skip
def test_a_budget_below_the_smallest_rank_is_refused(adapter, message):
    with pytest.raises(RecipeError) as error:
        solved(adapter)
    assert message in error.value.problems[0]


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("{kind: pal, budget: 5%, rank: 12}", "adapters[0].budget replaces rank; remove one of them."),
        ("{kind: prefix, budget: 5%, length: 12}", "adapters[0].budget replaces length"),
        ("{kind: pal, budget: lots}", "adapters[0].budget must be a multiple of the encoder above 1 (1.13x)"),
        ("{kind: top, budget: 5%}", "adapters[0].budget is not a known key"),
        ("{kind: pal, budgt: 5%}", "adapters[0].budgt is not a known key; did you mean 'budget'?"),
    ],
)
def test_a_wrong_budget_is_refused_when_the_recipe_is_read(adapter, message):
    with pytest.raises(RecipeError) as error:
        load_recipe(PAPER, [f"adapters=[{adapter}]"])
    assert message in error.value.problems[0]
