"""Every option of heads, batches, limits, windows and trackers: the schema, validation, resumed runs, card and report.

One recipe sets them all; its run is killed and resumed.
"""

import json

import pytest
import tiny
from crashes import contents, dying_after
from jsonschema import Draft202012Validator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import train

from mbert_cli.authoring.json_schema import recipe_schema
from mbert_cli.cli import app
from mbert_cli.errors import RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.recipe.overrides import override
from mbert_cli.recipe.yaml_text import parse
from mbert_cli.training.checks import check_recipe

IN_PARTS = "long texts in at most 3 windows that share 4 tokens (max)"
# Each key: its value, a wrong value, what the message says, and what the model card says.
OPTIONS = {
    "training.accumulate": (2, 0, "must be at least 1", "8 rows in 2 micro-batches"),
    "training.schedule": ("cosine", "cosinus", "must be 'constant', 'linear' or 'cosine'", "cosine schedule"),
    "training.evaluate_every": (4, 0, "must be at least 1", "every 4 steps"),
    "training.patience": (9, 1.5, "must be a whole number", "patience 9"),
    "training.max_steps": (7, -1, "must be at least 1", "max_steps 7"),
    "training.max_time": ("30min", "2d", "must be a time such as 45s", "max_time 30min"),
    "training.gradient_checkpointing": (True, "some", "must be true or false", None),
    "training.track": (["tensorboard"], ["comet"], "is 'comet'", None),
    "tasks.mood.learning_rate": (1e-3, 0, "must be greater than 0", "learning_rate 0.001"),
    "tasks.mood.loss_weight": (2.0, -1, "must be greater than 0", "loss_weight 2"),
    "tasks.mood.epoch_share": (0.5, 0, "must be greater than 0", "epoch_share 0.5"),
    "tasks.mood.windows.stride": (4, -1, "must be at least 0", IN_PARTS),
    "tasks.mood.windows.pool": ("max", "median", "must be 'mean', 'max' or 'first'", IN_PARTS),
    "tasks.mood.windows.most": (3, 0, "must be at least 1", IN_PARTS),
    "tasks.mood.head.label_smoothing": (0.1, 1, "must be less than 1", "label_smoothing 0.1"),
    "tasks.same.head.focal": (2, -1, "must be at least 0", "focal 2"),
    "tasks.near.head.min": (-1, "low", "must be a number", "a number from -1 to 6"),
    "tasks.near.head.max": (6, "high", "must be a number", "a number from -1 to 6"),
    "tasks.sets.head.labels": (["low", "mid", "high"], 3, "must be", "low, mid, high (several, joined by ;)"),
    "tasks.sets.head.delimiter": (";", 3, "must be a string", "joined by ;"),
    "tasks.sets.head.positive_weight": ("balanced", -1, "must be", "positive_weight balanced"),
    "tasks.often.head.labels": (["low", "mid", "high"], 3, "must be", "low, mid, high (ordered)"),
    "tasks.often.head.dropout": (0.2, 1, "must be less than 1", None),
    "tasks.free.head.loss": ("absolute_error", "mean", "must be 'squared_error' or 'absolute_error'", "| a number |"),
}


def changed(values, key, value):
    """Set a key of a recipe."""
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
    values[last] = value


@pytest.fixture(scope="module")
def recipe(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A recipe with a value for every option."""
    path = tiny.write_recipe(tmp_path_factory.mktemp("options") / "recipe.yaml", tiny_checkpoint, tiny_files)
    values = json.loads(path.read_text(encoding="utf-8"))
    tasks = values["tasks"]
    for name, like, kind in [("sets", "mood", "multi_label"), ("often", "mood", "ordinal"),
                             ("free", "near", "unbounded_regression")]:  # fmt: skip
        tasks[name] = {**tasks[like], "head": {"kind": kind}}
    values["curriculum"] = "simultaneous"
    values["training"] |= {"max_length": 8, "state_every": 1}
    for key, (value, *_) in OPTIONS.items():
        changed(values, key, value)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(recipe):
    """A run of seven steps that was killed after the fifth, and resumed."""
    folder = recipe.parent / "resumed"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbert_cli.training.loop.draw_figures", lambda *_: None)  # slow
        with dying_after(1, 2):
            train(recipe, folder)
        train(recipe, folder, resume=True)
    return folder


def test_the_resumed_run_has_the_bytes_of_an_uninterrupted_one(recipe, run):
    whole = recipe.parent / "whole"
    whole.mkdir()
    train(recipe, whole)
    assert result_of(run) == result_of(whole)
    assert scalars(run / "tracking") == scalars(whole / "tracking") != []


def result_of(folder):
    """Return the files of a run without those that contain times: `max_time` counts the time of all processes."""
    files = contents(folder)
    timed = [name for name in files if name.startswith("tracking/") or name.endswith(("/state.json", "/manifest.json"))]
    return {name: content for name, content in files.items() if name not in timed}


def scalars(folder):
    """Return the steps of each value that TensorBoard shows."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(tag, each.step) for tag in events.Tags()["scalars"] for each in events.Scalars(tag)]


@pytest.mark.parametrize("key", OPTIONS)
def test_the_card_and_the_report_have_the_option(run, key):
    *_, text = OPTIONS[key]
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    page = run.parent / "report.html"
    if not page.exists():
        app(["report", str(run), "-o", str(page), "-q"], standalone_mode=False)
    assert key.rpartition(".")[2] in page.read_text(encoding="utf-8")
    if text is None:  # the option does not change the result, or a head has had it before
        assert "tensorboard" not in card
        assert "gradient_checkpointing" not in card
    else:
        assert text in card


def test_validate_accepts_all_options_together(recipe, capsys):
    app(["validate", str(recipe), "--no-measure"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("no problems found; ")


@pytest.mark.parametrize("key", OPTIONS)
def test_a_wrong_value_is_reported_in_one_line_and_does_not_match_the_schema(recipe, key):
    _, wrong, message, _ = OPTIONS[key]
    setting = f"{key}={json.dumps(wrong)}"
    with pytest.raises(RecipeError) as refusal:
        check_recipe(load_recipe(str(recipe), [setting]))
    (line,) = refusal.value.problems
    assert key.rpartition(".")[2] in line
    assert message in line
    schema = Draft202012Validator(recipe_schema())
    document = parse(recipe.read_text(encoding="utf-8"), "recipe.yaml", recipe.parent)
    assert not list(schema.iter_errors(document.values))
    override(document, [setting])
    assert list(schema.iter_errors(document.values))
