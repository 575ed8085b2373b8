import shutil

import pytest

from mbert_cli.errors import RecipeError
from mbert_cli.model.components import problems
from mbert_cli.recipe.differences import result_spec
from mbert_cli.recipe.shipped import plan_names, shipped_names
from mbert_cli.sweeps.plan import find_plan, read_plan
from mbert_cli.training.checks import check_recipe

GOOD = """\
title: A title
seeds: [1, 2]
settings: [training.epochs=3]
rows:
  - {name: first, recipe: recipe.yaml}
  - name: second
    group: G
    recipe: recipe.yaml
    settings: [training.epochs=4, "adapters=[]"]
    seeds: [7]
"""


@pytest.fixture
def plan(tiny_recipe, tmp_path, monkeypatch):
    """A function that writes a plan beside the tiny recipe in the working folder, and reads it."""
    monkeypatch.chdir(tmp_path)

    def read(text=GOOD, **change):
        for old, new in change.get("replace", {}).items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / "plan.yaml").write_text(text, encoding="utf-8")
        return read_plan(find_plan("plan.yaml"), problems, check_recipe)

    return read


def problems_of(plan, text=GOOD, **replace):
    with pytest.raises(RecipeError) as caught:
        plan(text, **replace)
    return list(caught.value.problems)


def test_a_row_overrides_the_settings_and_seeds_of_the_plan(plan):
    read = plan()
    first, second = read.rows
    assert (read.title, read.keep) == ("A title", "model")
    assert (first.recipe.training.epochs, first.seeds, first.group) == (3, (1, 2), "")
    assert (second.recipe.training.epochs, second.seeds, second.group) == (4, (7,), "G")
    assert (len(first.recipe.adapters), second.recipe.adapters) == (2, ())
    assert second.recipe_of(7).training.seed == 7
    assert result_spec(first.recipe_of(1)) != result_spec(first.recipe_of(2))


def test_a_row_without_seeds_has_the_seed_of_its_recipe(plan):
    (row,) = plan("rows: [{name: a, recipe: recipe.yaml}]").rows
    assert row.seeds == (11711,)
    (row,) = plan("rows: [{name: a, recipe: recipe.yaml, settings: [training.seed=5]}]").rows
    assert row.seeds == (5,)
    assert plan("rows: [{name: a, recipe: recipe.yaml}]").title == "plan"


def test_paths_are_relative_to_the_plan(plan, tiny_files, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    shutil.copy(tiny_files / "mood-dev.tsv", tmp_path / "data" / "own.tsv")
    (tmp_path / "elsewhere").mkdir()
    plan("rows: [{name: a, recipe: recipe.yaml, settings: [tasks.mood.dev=data/own.tsv]}]")
    monkeypatch.chdir(tmp_path / "elsewhere")
    (row,) = read_plan(find_plan("../plan.yaml"), problems, check_recipe).rows
    assert row.recipe.tasks["mood"].dev == str(tmp_path / "data" / "own.tsv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title:", "titel:", "plan.yaml:1: titel is not a known key; did you mean 'title'? Known: keep, rows, "),
        ("title: A title", "title: [A]", "plan.yaml:1: title must be a string, but is ['A']."),
        ("title: A title", "keep: nothing", "plan.yaml:1: keep must be 'all', 'model' or 'metrics', but is 'nothing'."),
        ("seeds: [1, 2]", "seeds: 2", "plan.yaml:2: seeds must be a list, but is 2."),
        ("seeds: [1, 2]", "seeds: []", "plan.yaml:2: seeds is empty."),
        ("seeds: [1, 2]", "seeds: [1, -2]", "plan.yaml:2: seeds[1] must be at least 0, but is -2."),
        ("seeds: [1, 2]", "seeds: [3, 3]", "plan.yaml:2: seeds contains 3 more than once."),
        ("seeds: [7]", "seeds: [x]", "plan.yaml:10: rows[1].seeds[0] must be a whole number, but is 'x'."),
        (
            "settings: [training.epochs=3]",
            "settings: training.epochs=3",
            "plan.yaml:3: settings must be a list, but is ",
        ),
        (
            "settings: [training.epochs=3]",
            "settings: [training.epochs: 3]",
            "plan.yaml:3: settings[0] must be a string, but is {'training.epochs': 3}.",
        ),
        (
            "settings: [training.epochs=3]",
            "settings: [training.seed=3]",
            "plan.yaml:3: settings[0] sets training.seed, but `seeds` sets it too; keep only one.",
        ),
        (
            "settings: [training.epochs=3]",
            "settings: [training.epoch=3]",
            "plan.yaml:3: settings[0]: 'training.epoch=3': training.epoch is not a known key; did you mean 'epochs'?",
        ),
        (
            "settings: [training.epochs=4,",
            "settings: [training.epochs=0,",
            "plan.yaml:9: rows[1].settings[0]: 'training.epochs=0': training.epochs must be at least 1, but is 0. "
            "(row second)",
        ),
        (
            '"adapters=[]"',
            "adapters=lowrank",
            "plan.yaml:9: rows[1].settings[1]: 'adapters=lowrank': adapters must be a list",
        ),
        (
            '"adapters=[]"',
            "adapters",
            "plan.yaml:9: rows[1].settings[1]: 'adapters': an override has the form key=value",
        ),
        ('"adapters=[]"', '"pooling=men"', "pooling.kind is 'men'; did you mean 'mean'?"),
        ('"adapters=[]"', "tasks.mood.dev=none.tsv", "tasks.mood.dev: there is no file "),
        (
            "recipe: recipe.yaml}",
            "recipe: recpe.yaml}",
            "plan.yaml:5: rows[0].recipe is 'recpe.yaml', but there is no ",
        ),
        (
            "recipe: recipe.yaml}",
            "recipe: demoo}",
            "and no such shipped recipe; did you mean 'demo'? Run `mb",
        ),
        (
            "recipe: recipe.yaml}",
            "recipes: recipe.yaml}",
            "plan.yaml:5: rows[0].recipes is not a known key; did you me",
        ),
        ("recipe: recipe.yaml}", "group: x}", "plan.yaml:5: rows[0].recipe is missing."),
        ("name: first", "name: ''", "plan.yaml:5: rows[0].name is empty."),
        ("name: first", "name: 1", "plan.yaml:5: rows[0].name must be a string, but is 1."),
        (
            "name: first",
            "name: second, group: G",
            "plan.yaml:6: rows[1].name is 'second', which is also the name of rows[0]; names must be unique in a ",
        ),
        ("rows:", "rows: 3\nx:", "plan.yaml:4: rows must be a list, but is 3."),
        (
            "  - name: second",
            "  - second\n  - name: second",
            "plan.yaml:6: rows[1] must contain keys and values, but is 's",
        ),
        ("title: A title", "title: A title\ntitle: B", "plan.yaml:2: title is already defined on line 1; keep one."),
        ("title: A title", "title: [A title", "plan.yaml:2:6: is not YAML: "),
    ],
)
def test_problems_are_reported_with_their_places(plan, old, new, message):
    problems = problems_of(plan, replace={old: new})
    assert message in " ".join(problems)
    assert all(each.startswith("plan.yaml:") for each in problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "plan.yaml: rows is missing."),
        ("title: x", "plan.yaml: rows is missing."),
        ("rows: []", "plan.yaml:1: rows is empty."),
        ("- a", "plan.yaml:1: must contain keys and values, such as 'rows:'."),
    ],
)
def test_a_plan_without_rows_is_rejected(plan, text, message):
    assert problems_of(plan, text) == [message]


def test_problems_of_all_rows_are_reported_together_each_once(plan):
    text = """\
settings: [training.epoch=3]
rows:
  - {name: a, recipe: recipe.yaml, settings: ["pooling=men"]}
  - {name: b, recipe: recipe.yaml, settings: ["adapters[0].rnk=3"]}
"""
    common, *own = sorted(problems_of(plan, text))
    assert common.startswith("plan.yaml:1: settings[0]: 'training.epoch=3': training.epoch is not a known key")
    assert "row" not in common.partition("known key")[2]
    assert [each.partition(":")[2].partition(":")[0] for each in own] == ["3", "4"]
    assert [each[-8:] for each in own] == [" (row a)", " (row b)"]


def test_all_problems_of_a_plan_are_reported_together(plan):
    text = "titel: x\nkeep: y\nrows:\n  - {nam: a, recipe: recipe.yaml}\n  - {name: b, recipe: nowhere.yaml}\n"
    lines = [each.split(":")[1] for each in problems_of(plan, text)]
    assert lines == ["1", "2", "4", "4", "5"]


def test_a_problem_in_a_recipe_is_reported_with_its_place_there(plan, tmp_path):
    (tmp_path / "bad.yaml").write_text("extends: recipe.yaml\ntraining: {epoch: 3}\n")
    (problem,) = problems_of(plan, "rows:\n  - {name: a, recipe: bad.yaml}\n  - {name: b, recipe: recipe.yaml}\n")
    assert problem.startswith("bad.yaml:2: training.epoch is not a known key; did you mean 'epochs'?")
    assert problem.endswith("(row a)")


def test_a_missing_plan_is_reported_with_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="paper_table_minilm: .* did you mean 'paper_tables_minilm'"):
        find_plan("paper_table_minilm")
    with pytest.raises(RecipeError, match="is a folder"):
        find_plan(str(tmp_path))


@pytest.mark.parametrize("name", plan_names())
def test_every_shipped_plan_is_valid_and_starts_with_a_comment(name):
    plan = read_plan(find_plan(name), problems)
    assert plan.text.startswith("# ")
    assert plan.rows


def test_plans_are_not_listed_as_recipes():
    assert plan_names()
    assert not [name for name in shipped_names() if "plans" in name]


def test_the_plan_of_the_paper_has_every_row_of_tables_2_to_5_and_shares_repeated_runs():
    plan = read_plan(find_plan("paper_tables_minilm"), problems)
    sources = [row.recipe.reference.source for row in plan.rows]
    tables = [f"paper/minilm/table{number}_" for number in (2, 3, 4, 5)]
    assert len(sources) == len(set(sources)) == sum(name.startswith(tuple(tables)) for name in shipped_names()) == 13
    assert all(
        source.startswith(f"Multi-BERT paper, {row.group[:7]}, ")
        for source, row in zip(sources, plan.rows, strict=True)
    )
    # Mean pooling, sum of losses and simultaneous training are the same setting.
    specs = [result_spec(row.recipe) for row in plan.rows]
    assert sum(specs.count(spec) == 3 for spec in specs) == 3
    assert sum(specs.count(spec) == 1 for spec in specs) == 10
    assert {row.seeds for row in plan.rows} == {(1, 2)}
