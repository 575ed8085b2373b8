"""Mistakes in a search: each message has place, value and remedy."""

import pytest

from mbert_cli.errors import RecipeError
from mbert_cli.model.components import problems
from mbert_cli.sweeps.plan import read_plan
from mbert_cli.sweeps.ranges import Range
from mbert_cli.training.checks import check_recipe

GOOD = """\
seeds: [1]
search:
  recipe: recipe.yaml
  trials: 4
  ranges:
    training.learning_rate: {log: [1e-5, 1e-3]}
    training.warmup: {uniform: [0, 0.3], step: 0.1}
    adapters[0].rank: {int: [2, 8], step: 2}
    pooling: [cls, mean]
"""
RATE, WARMUP, RANK, POOLING = (line.strip() for line in GOOD.splitlines()[5:])


@pytest.fixture
def read(tiny_recipe, tmp_path, monkeypatch):
    """A function that writes a plan beside the tiny recipe in the working folder, and reads it."""
    monkeypatch.chdir(tmp_path)

    def read(text):
        (tmp_path / "plan.yaml").write_text(text, encoding="utf-8")
        return read_plan(tmp_path / "plan.yaml", problems, check_recipe)

    return read


def test_a_search_is_read(read):
    search = read(GOOD).search
    rate, warmup, rank, pooling = search.ranges
    assert rate == Range("training.learning_rate", "log", 1e-5, 1e-3)
    assert warmup == Range("training.warmup", "uniform", 0.0, 0.3, 0.1)
    assert rank == Range("adapters[0].rank", "int", 2, 8, 2)
    assert pooling == Range("pooling", "choice", choices=("cls", "mean"))
    assert (search.trials, search.section.pruning, search.training_seed) == (4, "median", 1)
    values = {"training.learning_rate": 3e-5, "training.warmup": 0.2, "adapters[0].rank": 6, "pooling": "cls"}
    recipe = search.recipe_of(values)
    assert (recipe.training.learning_rate, recipe.training.warmup) == (3e-5, 0.2)
    assert (recipe.adapters[0].options["rank"], recipe.pooling.kind) == (6, "cls")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-05, "1e-05"), (8, "8"), ("cls", "cls"), ("true", '"true"'), (["top"], '["top"]'), (None, "null")],
)
def test_a_setting_is_an_override(value, text):
    assert Range("key", "choice", choices=(value, 0)).setting(value) == f"key={text}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1e-5, 1e-3]", "[1e-3, 1e-5]", "6: {rate}.log must have the smallest value first, and a larger one second, but"),
        ("[1e-5, 1e-3]", "[1e-5, 1e-5]", "6: {rate}.log must have the smallest value first, and a larger one second, but"),
        ("[1e-5, 1e-3]", "[0, 1e-3]", "6: {rate}.log must begin above 0, because its scale is logarithmic, but begins at 0"),
        ("[1e-5, 1e-3]", "[1e-5]", "6: {rate}.log must be a list of the smallest and the largest value, but is [1e-05]."),
        ("[1e-5, 1e-3]", "1e-5", "6: {rate}.log must be a list of the smallest and the largest value, but is 1e-05."),
        ("[1e-5, 1e-3]", "[low, 1]", "6: {rate}.log must contain two finite numbers, but contains 'low'."),
        ("[1e-5, 1e-3]", "[1e-5, .inf]", "6: {rate}.log must contain two finite numbers, but contains inf."),
        ("[1e-5, 1e-3]", "[1e-5, null]", "6: {rate}.log must contain two finite numbers, but contains None."),
        ("{log: [1e-5, 1e-3]}", "{loguniform: [1e-5, 1]}", "unknown kind 'loguniform'; did you mean 'log'? Known: log, "),
        ("{log: [1e-5, 1e-3]}", "{unifrom: [1e-5, 1]}", "unknown kind 'unifrom'; did you mean 'uniform'? Known: choice"),
        ("{log: [1e-5, 1e-3]}", "{min: 1e-5, max: 1e-3}", "6: {rate} has min and max; write {{uniform: [min, max]}}, "),
        ("{log: [1e-5, 1e-3]}", "{log: [1e-5, 1], int: [1, 2]}", "must have one of log, uniform, int, choice, but has "),
        ("{log: [1e-5, 1e-3]}", "{}", "6: {rate} must have one of log, uniform, int, choice, but has none."),
        ("{log: [1e-5, 1e-3]}", "1e-4", "6: {rate} must be a range, such as {{log: [1e-5, 1e-3]}}, "),
        ("{log: [1e-5, 1e-3]}", "[]", "6: {rate} must be a list of values, but is []."),
        ("{log: [1e-5, 1e-3]}", "{choice: }", "6: {rate}.choice must be a list of values, but is None."),
        ("{log: [1e-5, 1e-3]}", "[1e-4, 1e-4]", "6: {rate} contains 0.0001 more than once."),
        ("{log: [1e-5, 1e-3]}", "{log: [1e-5, 1], step: 2}", "6: {rate}.step is for uniform and int; remove it."),
        ("[2, 8]", "[2.5, 8]", "8: search.ranges.adapters[0].rank.int must contain two whole numbers, but contains 2.5."),
        ("step: 2", "step: 9", "8: search.ranges.adapters[0].rank.step must be a whole number above 0 and at most 6, but"),
        ("step: 2", "step: null", "8: search.ranges.adapters[0].rank.step must be a whole number above 0 and at most 6,"),
        ("[2, 8]", "[0, 8]", "8: search.ranges.adapters[0].rank: 'adapters[0].rank=0': adapters[0].rank must be "),
        ("training.learning_rate", "training.learning_rat", "training.learning_rat is not a known key; did you mean "),
        ("training.learning_rate", "learning_rate", "is not a key of a recipe; did you mean 'training.learning_rate'?"),
        ("training.learning_rate", "lr", "6: search.ranges.lr is not a key of a recipe; did you mean 'training.learning_"),
        ("training.learning_rate", "training.seed", "training.seed cannot be searched; set one seed in `seeds`."),
        ("adapters[0].rank", "adapters[5].rank", "adapters has 2 items, so there is no adapters[5]."),
        ("[cls, mean]", "[cls, men]", "pooling.kind is 'men'; did you mean 'mean'?"),
        ("[0, 0.3]", "[0, 3]", "7: search.ranges.training.warmup: 'training.warmup=3.0': training.warmup must be at most 1"),
        ("trials: 4", "trails: 4", "4: search.trails is not a known key; did you mean 'trials'?"),
        ("trials: 4", "trials: 0", "4: search.trials must be at least 1, but is 0."),
        ("  trials: 4\n", "", "2: search has no end; set trials, such as 30, or max_time, such as 90min."),
        ("trials: 4", "max_time: 2d", "4: search.max_time must be a time such as 45s, 30min or 2h, but is '2d'."),
        ("seeds: [1]", "seeds: [1, 2]", "1: seeds has 2 seeds, but a search trains each trial once; keep one seed, and "),
        ("seeds: [1]", "rows: [{name: a, recipe: demo}]", "1: rows and search cannot be used together; write two plans."),
        ("recipe.yaml", "recipe.yml", "3: search.recipe is 'recipe.yml', but there is no such file in "),
        ("  recipe: recipe.yaml\n", "", "2: search.recipe is missing."),
        (GOOD.partition("search:")[2], " 3\n", "2: search must contain keys and values, but is 3."),
        (GOOD.partition("ranges:")[2], " {}\n", "5: search.ranges is empty."),
        (GOOD.partition("ranges:")[2], " [a]\n", "5: search.ranges must contain keys and values, but is ['a']."),
    ],
)  # fmt: skip
def test_mistakes_are_reported_with_place_value_and_remedy(read, old, new, message):
    assert GOOD.count(old) == 1
    with pytest.raises(RecipeError) as caught:
        read(GOOD.replace(old, new))
    text = "\n".join(caught.value.problems)
    assert message.format(rate="search.ranges.training.learning_rate") in text
    assert all("plan.yaml" in each for each in caught.value.problems)
