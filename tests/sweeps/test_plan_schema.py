"""The JSON Schema of plans accepts what `read_plan` accepts, and rejects the mistakes that it can see."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from sweeping import PLAN
from test_ranges import GOOD

from mbert_cli.recipe.shipped import plan_names
from mbert_cli.recipe.yaml_text import parse
from mbert_cli.sweeps.plan import find_plan
from mbert_cli.sweeps.plan_schema import plan_schema

SCHEMA = Draft202012Validator(plan_schema())


def is_valid(text):
    return SCHEMA.is_valid(parse(text, "plan.yaml", Path(), "rows").values)


def test_plans_are_valid():
    Draft202012Validator.check_schema(plan_schema())
    assert is_valid(PLAN)
    assert is_valid(GOOD)
    for name in plan_names():
        assert is_valid(find_plan(name).read_text())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trials: 4", "trails: 4"),
        ("  trials: 4\n", ""),
        ("{log: [1e-5, 1e-3]}", "{log: [0, 1e-3]}"),
        ("{log: [1e-5, 1e-3]}", "{log: [1e-5]}"),
        ("{log: [1e-5, 1e-3]}", "{loguniform: [1e-5, 1e-3]}"),
        ("{log: [1e-5, 1e-3]}", "1e-4"),
        ("[2, 8]", "[2.5, 8]"),
        ("step: 2", "step: 0"),
        ("[cls, mean]", "[]"),
        ("[cls, mean]", "[cls, cls]"),
        ("search:", "rows: [{name: a, recipe: b}]\nsearch:"),
    ],
)
def test_mistakes_are_rejected(old, new):
    assert GOOD.count(old) == 1
    assert not is_valid(GOOD.replace(old, new))
