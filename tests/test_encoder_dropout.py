"""Dropout within the encoder that is a task's own."""

import pytest
import torch

from mbert_cli.compose import load_recipe
from mbert_cli.errors import RecipeError
from mbert_cli.hardware import Hardware
from mbert_cli.progress import Talk
from mbert_cli.run_folder import RunFolder
from mbert_cli.training import prepare
from mbert_cli.training_data import check_recipe

ONE_TASK_A_STEP = "curriculum=round_robin"
OWN = ("tasks.mood.encoder_dropout=0.5", "tasks.near.encoder_dropout=0")


def begun(recipe, folder, *settings):
    """Return a training that is ready for its first step."""
    hardware = Hardware(torch.device("cpu"), torch.float32, "torch")
    chosen = load_recipe(str(recipe), list(settings))
    folder = RunFolder(folder)
    folder.path.mkdir()
    return prepare(chosen, folder, hardware, Talk(quiet=True))


def probabilities(modules):
    """Return the probabilities of dropping features and attention weights that some modules have."""
    return {module.dropout_p for each in modules for module in each.modules() if hasattr(module, "dropout_p")}


def step(run, task):
    """Take a step of one task; return the encoder's probabilities."""
    run.step({task: torch.arange(2).numpy()})
    return probabilities([run.model.encoder])


def test_the_encoder_drops_what_the_steps_task_says(tiny_recipe, tmp_path):
    run = begun(tiny_recipe, tmp_path / "run", ONE_TASK_A_STEP, *OWN, "encoder.dropout=0.25")
    assert step(run, "mood") == {0.5}
    assert step(run, "near") == {0.0}
    assert step(run, "same") == {0.25}
    assert step(run, "mood") == {0.5}


def test_without_a_word_the_encoder_drops_what_its_checkpoint_says(tiny_recipe, tmp_path):
    run = begun(tiny_recipe, tmp_path / "run", ONE_TASK_A_STEP, "tasks.mood.encoder_dropout=0.5")
    assert step(run, "mood") == {0.5}
    shape = run.model.encoder.shape
    assert step(run, "near") == {shape.dropout, shape.attention_dropout} != {0.5}


@pytest.mark.parametrize("adapter", ["top", "{kind: pal, rank: 8, heads: 2}"])
def test_a_tasks_adapters_drop_as_the_encoder_does(adapter, tiny_recipe, tmp_path):
    run = begun(tiny_recipe, tmp_path / "run", ONE_TASK_A_STEP, *OWN, f"adapters=[{adapter}]")
    assert probabilities(run.model.task("mood").adapters) == {0.5}
    assert probabilities(run.model.task("near").adapters) == {0.0}


@pytest.mark.parametrize("curriculum", ["simultaneous", "hybrid"])
def test_tasks_that_step_together_want_the_same(curriculum, tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), [f"curriculum={curriculum}", *OWN])
    with pytest.raises(RecipeError, match=rf"tasks\.mood\.encoder_dropout differs .* the curriculum {curriculum} puts"):
        check_recipe(recipe)


@pytest.mark.parametrize("settings", [["curriculum=sequential", *OWN], ["encoder.dropout=0", "curriculum=hybrid"]])
def test_what_never_meets_or_does_not_differ_may_stand(settings, tiny_recipe):
    check_recipe(load_recipe(str(tiny_recipe), settings))


def test_tasks_that_all_say_the_same_may_step_together(tiny_recipe):
    settings = [f"tasks.{task}.encoder_dropout=0.2" for task in ("mood", "same", "near")]
    check_recipe(load_recipe(str(tiny_recipe), ["curriculum=simultaneous", *settings]))
