"""Task-specific dropout in the encoder."""

import pytest
import torch
from tiny_runs import QUIET

from mbert_cli.errors import RecipeError
from mbert_cli.machine.hardware import Hardware
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.checks import check_recipe
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions

ONE_TASK_A_STEP = "curriculum=round_robin"
OWN = ("tasks.mood.encoder_dropout=0.5", "tasks.near.encoder_dropout=0")


def prepared(recipe, folder, *settings):
    """Return a training run before its first step."""
    hardware = Hardware(torch.device("cpu"), torch.float32, "torch")
    chosen = load_recipe(str(recipe), list(settings))
    folder = RunFolder(folder)
    folder.path.mkdir()
    return prepare(chosen, folder, RunOptions(hardware, QUIET))


def probabilities(modules):
    """Return the dropout probabilities of features and attention weights in some modules."""
    return {module.dropout_p for each in modules for module in each.modules() if hasattr(module, "dropout_p")}


def step(run, task):
    """Take a step of one task; return the dropout probabilities of the encoder."""
    run.step({task: torch.arange(2).numpy()})
    return probabilities([run.model.encoder])


def test_the_encoder_has_the_dropout_of_the_steps_task(tiny_recipe, tmp_path):
    run = prepared(tiny_recipe, tmp_path / "run", ONE_TASK_A_STEP, *OWN, "encoder.dropout=0.25")
    assert step(run, "mood") == {0.5}
    assert step(run, "near") == {0.0}
    assert step(run, "same") == {0.25}
    assert step(run, "mood") == {0.5}


def test_by_default_the_encoder_has_the_dropout_of_its_checkpoint(tiny_recipe, tmp_path):
    run = prepared(tiny_recipe, tmp_path / "run", ONE_TASK_A_STEP, "tasks.mood.encoder_dropout=0.5")
    assert step(run, "mood") == {0.5}
    shape = run.model.encoder.shape
    assert step(run, "near") == {shape.dropout, shape.attention_dropout} != {0.5}


@pytest.mark.parametrize("adapter", ["top", "{kind: pal, rank: 8, heads: 2}"])
def test_a_tasks_adapters_have_the_same_dropout_as_the_encoder(adapter, tiny_recipe, tmp_path):
    run = prepared(tiny_recipe, tmp_path / "run", ONE_TASK_A_STEP, *OWN, f"adapters=[{adapter}]")
    assert probabilities(run.model.task("mood").adapters) == {0.5}
    assert probabilities(run.model.task("near").adapters) == {0.0}


@pytest.mark.parametrize("curriculum", ["simultaneous", "hybrid"])
def test_tasks_in_the_same_step_must_have_the_same_dropout(curriculum, tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), [f"curriculum={curriculum}", *OWN])
    with pytest.raises(RecipeError, match=rf"tasks\.mood\.encoder_dropout differs .* the curriculum {curriculum} puts"):
        check_recipe(recipe)


@pytest.mark.parametrize("settings", [["curriculum=sequential", *OWN], ["encoder.dropout=0", "curriculum=hybrid"]])
def test_tasks_in_separate_steps_or_with_equal_dropout_are_valid(settings, tiny_recipe):
    check_recipe(load_recipe(str(tiny_recipe), settings))


def test_tasks_that_all_set_the_same_dropout_can_share_steps(tiny_recipe):
    settings = [f"tasks.{task}.encoder_dropout=0.2" for task in ("mood", "same", "near")]
    check_recipe(load_recipe(str(tiny_recipe), ["curriculum=simultaneous", *settings]))
