import json
from pathlib import Path

import pytest
import yaml
from small_recipe import REFERENCE, SMALL

from mbert_cli.model.components import load_recipe
from mbert_cli.recipe.sections import Recipe, as_spec


def load(path: Path, *overrides: str) -> Recipe:
    return load_recipe(str(path), overrides)


def test_to_yaml_gives_an_equal_recipe(tiny_recipe, write):
    recipe = load(tiny_recipe)
    again = load(write(recipe.to_yaml(), "again.yaml"))
    assert as_spec(again) == as_spec(recipe)
    assert again.to_yaml() == recipe.to_yaml()


@pytest.mark.parametrize(
    "labels",
    [
        ["no", "yes"],
        ["1e-5", "2e5"],
        ["08", "09"],
        ["+.5", "1."],
        ["12:30", "0x10"],
        ["null", "~"],
        ["true", "False"],
        ["1", "2"],
        ["é", "日本"],
        ["- a", "b: c"],
        ["=", "<<"],
        ["#a", "'"],
    ],
)
def test_to_yaml_quotes_strings_that_look_like_other_types(write, labels):
    path = write(SMALL.replace("num_classes: 3", f"labels: {json.dumps(labels)}"))
    recipe = load(path)
    assert load(write(recipe.to_yaml(), "again.yaml")).tasks["mood"].head.options["labels"] == labels


@pytest.mark.parametrize("rate", [1e-5, 3e-4, 1.0, 2.5e-7, 1e22])
def test_to_yaml_keeps_learning_rates(write, rate):
    recipe = load(write(f"{SMALL}training: {{learning_rate: {rate!r}}}\n"))
    assert load(write(recipe.to_yaml(), "again.yaml")).training.learning_rate == rate


def test_to_yaml_is_plain_yaml(tiny_recipe):
    recipe = load(tiny_recipe)
    assert yaml.safe_load(recipe.to_yaml()) == as_spec(recipe)


def test_to_yaml_keeps_the_reference(write):
    recipe = load(write(SMALL + REFERENCE))
    again = load(write(recipe.to_yaml(), "again.yaml"))
    for each in (recipe, again):
        assert (each.reference.source, dict(each.reference.scores)) == ("a paper", {"mood": 0.5})


def test_a_recipe_cannot_be_changed(tiny_recipe):
    recipe = load(tiny_recipe)
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.epochs = 3
