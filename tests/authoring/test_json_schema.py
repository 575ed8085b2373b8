import copy
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mbert_cli.authoring.json_schema import recipe_schema
from mbert_cli.model.components import kinds
from mbert_cli.recipe.shipped import find, shipped_names
from mbert_cli.recipe.yaml_text import parse

WHOLE = """
encoder: {checkpoint: bert-base-uncased, reinitialise: 2}
adapters: [{kind: low_rank, rank: 16}, top, {kind: pal, budget: 5%}]
pooling: mean
tasks:
  a: {train: a.tsv, dev: b.tsv, text: x, label: y, head: {kind: classification, labels: [n, p], dropout: 0.2}}
  b: {train: a.tsv, dev: b.tsv, text: [x, y], label: z, head: pair_classification}
  c: {train: a.tsv, dev: b.tsv, text: [x, y], label: z, head: {kind: dual_classification, labels: {0: no, 1: yes}}}
  d: {train: a.tsv, dev: b.tsv, text: x, label: z, head: {kind: regression, min: -1, scale: 1}}
curriculum: {kind: hybrid, match: smallest}
training: {epochs: 3, learning_rate: 0.00001, state_every: 10min, track: [tensorboard, wandb]}
reference: {source: a paper, scores: {a: 0.5}}
"""


@pytest.fixture(scope="module")
def schema():
    return Draft202012Validator(recipe_schema())


def values_of(text):
    return parse(text, "recipe.yaml", Path()).values


def problems(schema, values):
    return [error.message for error in schema.iter_errors(values)]


def test_the_schema_is_valid(schema):
    Draft202012Validator.check_schema(schema.schema)


@pytest.mark.parametrize("name", shipped_names())
def test_each_shipped_recipe_matches_the_schema(schema, name):
    assert problems(schema, values_of(find(name).read_text())) == []


def test_a_complete_recipe_matches_the_schema(schema):
    assert problems(schema, values_of(WHOLE)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trainin", {}),
        ("training.epochs", "three"),
        ("training.epochs", 0),
        ("training.state_every", "10m"),
        ("training.max_time", 30),
        ("training.max_time", "2d"),
        ("training.patience", 0),
        ("training.evaluate_every", "10min"),
        ("training.max_steps", 1.5),
        ("training.gradient_checkpointing", "yes"),
        ("training.schedule", "cosinus"),
        ("training.track", ["comet"]),
        ("training.track", ["wandb", "wandb"]),
        ("encoder.reinitialise", "some"),
        ("encoder.shape", {"hidden": 3}),
        ("encoder.shape", {"family": "modernbret"}),
        ("adapters", [{"kind": "lowrank"}]),
        ("adapters", ["lowrank"]),
        ("adapters", [{"kind": "low_rank", "rnk": 3}]),
        ("adapters", [{"kind": "low_rank", "rank": 0}]),
        ("pooling", "median"),
        ("curriculum", {"kind": "sequential", "match": "smallest"}),
        ("tasks.a.head", {"kind": "classification", "num_clases": 3}),
        ("tasks.a.head", {"kind": "classification", "class_weights": [1, -1]}),
        ("tasks.b.head", {"kind": "pair_classification", "positive_weight": 0}),
        ("tasks.b.head", {"kind": "pair_classification", "labels": {"0": True, "1": "yes"}}),
        ("tasks.b.head", {"kind": "pair_classification", "labels": [0, 1]}),
        ("tasks.a.text", ["x", "y", "z"]),
        ("tasks.a.on_bad_row", "ignore"),
        ("reference.scores.a", 2),
    ],
)
def test_an_invalid_value_does_not_match_the_schema(schema, path, value):
    values = values_of(WHOLE)
    section = values
    *above, key = path.split(".")
    for part in above:
        section = section[part]
    section[key] = value
    assert problems(schema, values)


@pytest.mark.parametrize("path", ["encoder", "tasks", "tasks.a.head", "tasks.b.label", "encoder.checkpoint"])
def test_required_keys_may_be_missing_only_if_another_recipe_is_extended(schema, path):
    values = values_of(WHOLE)
    section = values
    *above, key = path.split(".")
    for part in above:
        section = section[part]
    del section[key]
    assert problems(schema, copy.deepcopy(values))
    assert problems(schema, {"extends": "other.yaml", **values}) == []


def test_each_key_has_a_description(schema):
    def undescribed(values, path):
        for name, each in values.get("properties", {}).items():
            if isinstance(each, dict) and name not in ("encoder", "adapters", "tasks", "training", "reference"):
                if "description" not in each and "if" not in each:
                    yield f"{path}.{name}"
                yield from undescribed(each, f"{path}.{name}")

    sections = schema.schema["properties"]
    found = [each for name in ("encoder", "training", "reference") for each in undescribed(sections[name], name)]
    found += undescribed(sections["tasks"]["additionalProperties"], "tasks")
    options = [each["then"] for each in sections["adapters"]["items"]["else"]["allOf"]]
    found += [
        name
        for each in options
        for name, schema in each["properties"].items()
        if schema is not True and not schema.get("description")
    ]
    assert found == []


def test_the_schema_lists_all_kinds(schema):
    sections = schema.schema["properties"]
    assert sections["adapters"]["items"]["then"]["enum"] == kinds("adapters")
    assert sections["curriculum"]["then"]["enum"] == kinds("curricula")
