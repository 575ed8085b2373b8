"""The page `limits` of the guide: what it calls unsupported is rejected, and what it recommends exists."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mbert_cli
from mbert_cli.cli import app
from mbert_cli.encoder.checkpoint import read_shape
from mbert_cli.errors import CheckpointError, RecipeError
from mbert_cli.model.components import kinds, load_recipe

PAGE = Path(mbert_cli.__file__).parent / "guide" / "limits.md"


def items():
    """Return the items of the page's lists: what people look for, what mbert does, what to do instead."""
    text = re.sub(r"\n  ", " ", PAGE.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    matches = [re.fullmatch(r"- \*\*(.+?)\*\*: (.+?) Instead: (.+)", line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return [match.groups() for match in matches]


def test_the_page_has_all_its_items():
    assert len(items()) > 30


@pytest.mark.parametrize("family", ["t5", "longformer", "gpt2"])
def test_other_encoder_families_are_rejected(tmp_path, family):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    with pytest.raises(CheckpointError, match=f"model_type is '{family}'"):
        read_shape(tmp_path)


@pytest.mark.parametrize(
    "setting",
    [
        "tasks.mood.head={kind: hierarchical}",
        "tasks.mood.epochs=2",
        "tasks.mood.weight=importance",
        "tasks.mood.head.loss=hinge",
        "tasks.mood.text=[text, text, text]",
        "training.track=[comet]",
    ],
)
def test_settings_that_the_page_calls_unsupported_are_rejected(tiny_recipe, setting):
    """A setting that is now supported must be removed from the page and from this list."""
    with pytest.raises(RecipeError):
        load_recipe(str(tiny_recipe), [setting])


@pytest.mark.parametrize(
    "words",
    [
        ["add-task", "a", "r.yaml"],
        ["serve", "a"],
        ["train", "--precision", "fp16"],
        ["train", "--device", "mps"],
        ["train", "--precision", "int8"],
    ],
)
def test_commands_and_options_that_the_page_calls_unsupported_are_rejected(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0
    assert not list(tmp_path.iterdir())


def test_commands_kinds_and_options_that_the_page_recommends_exist():
    advice = " ".join(instead for _, _, instead in items())
    commands = [each.name for each in app.registered_commands]
    helped = {name: CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output for name in commands}
    for name, rest in re.findall(r"`mbert ([a-z-]+)([^`]*)`", advice):
        assert name in helped
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in helped[name], f"mbert {name} has no {option}"
    for name in ("square_root", "temperature", "annealed"):
        assert name in kinds("curricula")


@pytest.mark.parametrize(
    "setting",
    [
        "tasks.mood.head={kind: regression, min: 1, scale: 3}",
        "tasks.mood.head={kind: classification, labels: [low, mid, high], class_weights: balanced}",
        "training.strict_length=true",
        "curriculum={kind: square_root, steps: 500}",
        "training.schedule=linear",
        "training.accumulate=4",
        "tasks.mood.epoch_share=0.5",
        "tasks.mood.loss_weight=2",
        "tasks.mood.head={kind: classification, labels: [low, mid, high], label_smoothing: 0.1}",
        "tasks.mood.head={kind: classification, labels: [low, mid, high], focal: 2}",
    ],
)
def test_settings_that_the_page_recommends_are_accepted(tiny_recipe, setting):
    load_recipe(str(tiny_recipe), [setting])
