"""Warnings about keys of a recipe without effect."""

import pytest

from mbert_cli.cli import app
from mbert_cli.model.components import load_recipe
from mbert_cli.recipe.training_options import unused_warnings

FROZEN = "training.freeze_encoder=true"
OWN_RATES = ("training.adapter_learning_rate=1e-4", "training.head_learning_rate=1e-3")
WITHOUT_EFFECT = {
    "learning_rate is 0.002": (FROZEN, *OWN_RATES, "training.learning_rate=2e-3"),
    "layer_decay is 0.9": (FROZEN, "training.layer_decay=0.9"),
    "warmup is 0.2": ("training.warmup=0.2",),
    "adapter_learning_rate is 0.0001": ("adapters=[]", *OWN_RATES),
    "gradient_checkpointing is true": (
        FROZEN, "training.cache_features=true", "adapters=[top]", "training.gradient_checkpointing=true",
    ),
}  # fmt: skip


@pytest.mark.parametrize("start", WITHOUT_EFFECT)
def test_a_key_without_effect_is_reported(tiny_recipe, start):
    warnings = unused_warnings(load_recipe(str(tiny_recipe), ["training.learning_rate=1e-5", *WITHOUT_EFFECT[start]]))
    (warning,) = warnings
    assert warning.startswith(f"training.{start}, but has no effect: ")


def test_options_of_windows_that_are_not_read_are_reported(tiny_recipe):
    windows = "tasks.mood.windows={pool: first, stride: 2, most: 4}"
    assert unused_warnings(load_recipe(str(tiny_recipe), [windows])) == [
        f"tasks.mood.windows.{key}, but has no effect: only the first window is read, because pool is first"
        for key in ("stride is 2", "most is 4")
    ]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        (FROZEN,),  # the adapters and heads have the learning rate
        (FROZEN, "training.adapter_learning_rate=1e-4", "adapters=[]"),  # so do the heads
        ("training.schedule=linear", "training.warmup=0.2"),
        ("training.layer_decay=0.9", *OWN_RATES),
        ("tasks.mood.windows={pool: first}",),
        ("tasks.mood.windows={stride: 2, most: 4}",),
    ],
)
def test_a_key_with_an_effect_causes_no_warning(tiny_recipe, settings):
    assert unused_warnings(load_recipe(str(tiny_recipe), settings)) == []


def test_a_resolved_recipe_causes_no_warning(tiny_recipe, tmp_path):
    """It has all keys, most of them with their defaults."""
    recipe = load_recipe(str(tiny_recipe), [FROZEN, *OWN_RATES, "training.learning_rate=1e-5"])
    (tmp_path / "resolved.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert unused_warnings(load_recipe(str(tmp_path / "resolved.yaml"))) == []


def test_validate_prints_the_warning(tiny_recipe, capsys):
    app(["validate", str(tiny_recipe), "training.warmup=0.2", "--no-measure"], standalone_mode=False)
    assert "training.warmup is 0.2, but has no effect: the schedule is constant.\n" in capsys.readouterr().err
