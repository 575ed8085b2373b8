"""A step in micro-batches equals a step with one batch; loss weights multiply gradients."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from tiny_runs import QUIET, losses_after

from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.errors import NotFiniteError
from mbert_cli.heads.classification import Classification
from mbert_cli.machine.hardware import choose
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.components import build, kinds, load_recipe
from mbert_cli.recipe.sections import Component
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import prepare
from mbert_cli.training.micro_batches import summed_losses
from mbert_cli.training.options import RunOptions
from mbert_cli.training.state import TrainingState
from mbert_cli.training.step import OptimizerStep

ROWS = {"mood": np.arange(32) % 20, "same": np.arange(32) % 30, "near": np.arange(32) % 12}
UNEVEN = {"mood": ROWS["mood"], "same": ROWS["same"][:2], "near": ROWS["near"][:9]}
SETTINGS = (
    "encoder.dropout=0.2",
    "adapters=[{kind: low_rank, rank: 6, init_std: 0.1}, {kind: lora, rank: 4, dropout: 0.3}, {kind: top}]",
    "tasks.mood.head={kind: classification, labels: [low, mid, high], class_weights: [1, 2, 5], dropout: 0.3}",
    "tasks.same.head={kind: pair_classification, positive_weight: 3, dropout: 0.4, focal: 2}",
    "tasks.same.symmetric=true",
    "tasks.mood.windows={stride: 2}",
    "training.max_length=8",  # some texts of the task mood have several windows
    "tasks.near.token_dropout=0.3",
    "training.batch_size=32",
    "training.clip_norm=null",
    "training.learning_rate=1e-30",  # no weight changes
)


OTHER_HEADS = (
    "tasks.mood.head={kind: classification, labels: [low, mid, high], class_weights: [1, 2, 5], label_smoothing: 0.2}",
    "tasks.same.head={kind: multi_label, labels: ['0', '1'], positive_weight: balanced, focal: 2}",
    "tasks.same.text=one",
    "tasks.same.symmetric=false",
    "tasks.near.head={kind: unbounded_regression, loss: absolute_error}",
)
ORDERED = "tasks.mood.head={kind: ordinal, labels: [low, mid, high]}"


@pytest.fixture(scope="module")
def made(tiny_files, even_checkpoint, tmp_path_factory):
    """Return a function that makes a run with dropout at every site."""

    def made(*settings):
        folder = tmp_path_factory.mktemp("micro-batches")
        path = tiny.write_recipe(folder / "recipe.yaml", even_checkpoint, tiny_files)
        chosen = RunOptions(choose("cpu", "fp32", "fused"), QUIET)
        run = prepare(load_recipe(str(path), [*SETTINGS, *settings]), RunFolder(folder), chosen)
        assert run.setup.facts["mood"].most_windows > 1
        return run

    return made


@pytest.fixture(scope="module")
def run(made):
    """Return a run with dropout at every site and weighted losses."""
    return made()


def step_of(run, balancing="total", accumulate=1, tasks=None, weight=0.5):
    """Return a step of a run with another balancing, which trains everything or the parameters of some tasks.

    Args:
        run: the run.
        balancing: the loss balancing.
        accumulate: number of micro-batches.
        tasks: the tasks whose parameters train; None for all parameters.
        weight: the loss weight of the task `near`.
    """
    training = run.recipe.training.model_copy(update={"accumulate": accumulate})
    goals = {task: run.model.head(task).goal for task in run.model.task_names}
    learner = replace(run.setup.learner, balancing=build("loss_balancing", Component(kind=balancing), goals))
    near = run.recipe.tasks["near"].model_copy(update={"loss_weight": weight})
    recipe = run.recipe.model_copy(update={"training": training, "tasks": {**run.recipe.tasks, "near": near}})
    run.model.train_only(tasks)
    return OptimizerStep(replace(run.setup, recipe=recipe, learner=learner), TrainingState(), torch.device("cpu"))


def results_of(run, rows, *chosen):
    """Take a step; return its losses, its gradients, and the values of the balancing afterwards."""
    step, gradients = step_of(run, *chosen), {}

    def watched(self):
        for name, parameter in run.model.named_parameters():
            if parameter.grad is not None:
                gradients[name] = parameter.grad.to_dense().double()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowwiseAdamW, "step", watched)
        (losses,) = losses_after(step, rows)
    return losses, gradients, step.update.balancing.state_dict()


def distance(some, others):
    """Return |g - g'| / |g'| of the gradients of all parameters."""
    assert some.keys() == others.keys()
    flat = [torch.cat([each[name].flatten() for name in others]) for each in (some, others)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


@pytest.mark.parametrize(
    ("balancing", "rows"),
    [*((each, ROWS) for each in kinds("loss_balancing")), *((each, UNEVEN) for each in ("total", "squared", "pcgrad"))],
)
def test_four_micro_batches_equal_one_batch(run, balancing, rows):
    losses, gradients, values = results_of(run, rows, balancing, 4)
    expected = results_of(run, rows, balancing)
    assert losses == pytest.approx(expected[0], rel=1e-6)
    assert distance(gradients, expected[1]) < 1e-6
    assert values.keys() == expected[2].keys()
    for name, value in expected[2].items():
        torch.testing.assert_close(values[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("settings", [OTHER_HEADS, (*OTHER_HEADS, ORDERED)], ids=["smoothed", "ordinal"])
def test_four_micro_batches_equal_one_batch_with_every_other_loss(made, settings):
    run = made(*settings)
    for balancing, rows in (("total", ROWS), ("squared", UNEVEN)):
        losses, gradients, _ = results_of(run, rows, balancing, 4)
        expected = results_of(run, rows, balancing)
        assert losses == pytest.approx(expected[0], rel=1e-6)
        assert distance(gradients, expected[1]) < 1e-6


def test_micro_batches_with_gradient_checkpointing_equal_one_batch(run, monkeypatch):
    expected = results_of(run, ROWS, "pcgrad")
    monkeypatch.setattr(run.model.encoder, "recomputes", True)
    losses, gradients, _ = results_of(run, ROWS, "pcgrad", 4)
    assert losses == pytest.approx(expected[0], rel=1e-6)
    assert distance(gradients, expected[1]) < 1e-6


@pytest.mark.parametrize("kernels", ["torch", "fused"])
@pytest.mark.parametrize("tasks", [None, ["mood"]])
def test_a_step_of_one_task_in_micro_batches_equals_one_batch(run, kernels, tasks):
    run.model.compute_with(torch.float32, kernels)
    rows = {"mood": ROWS["mood"]}
    losses, gradients, _ = results_of(run, rows, "total", 4, tasks)
    expected = results_of(run, rows, "total", 1, tasks)
    assert losses == pytest.approx(expected[0], rel=1e-6)
    assert distance(gradients, expected[1]) < 1e-6


@pytest.mark.parametrize(("balancing", "passes"), [("total", 4), ("uncertainty", 4), ("squared", 8)])
def test_weights_that_do_not_depend_on_the_losses_need_one_forward_pass(run, monkeypatch, balancing, passes):
    called = []
    forward = type(run.model).forward
    monkeypatch.setattr(type(run.model), "forward", lambda self, batch: called.append(batch) or forward(self, batch))
    results_of(run, ROWS, balancing, 4)
    assert len(called) == passes


def test_the_activations_of_a_micro_batch_are_freed_before_the_next(run):
    alive, most = weakref.WeakSet(), []
    weight = torch.ones(1000, requires_grad=True)

    def losses_of(portion):
        states = (weight * portion.batch.places["mood"]).sin()  # one row, at place 0, 1, 2 or 3
        alive.add(states)
        most.append(len(alive))
        return {"mood": states.sin().sum()}

    portions = run.step.pairs.pack_portions({"mood": np.arange(4)}, 0, "cpu", ALONE, 4)
    losses = summed_losses(losses_of, portions)
    assert most == [1, 1, 1, 1]
    losses["mood"].backward()
    assert most == [1] * 8
    numbers = np.arange(4)
    expected = (numbers * np.cos(numbers) * np.cos(np.sin(numbers))).sum()
    np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(("rows", "expected"), [(32, [8, 8, 8, 8]), (10, [3, 3, 2, 2]), (3, [1, 1, 1]), (1, [1])])
def test_every_row_is_in_one_micro_batch(run, rows, expected):
    portions = run.step.pairs.pack_portions({"mood": np.arange(rows) % 20}, 0, "cpu", ALONE, 4)
    places = [portion.batch.places["mood"].tolist() for portion in portions]
    assert sorted(map(len, places), reverse=True) == expected
    assert sorted(place for own in places for place in own) == list(range(rows))


def test_each_process_computes_a_micro_batch_even_if_there_are_fewer_rows(run):
    rows = {"mood": np.arange(3), "same": np.arange(1)}
    of_ranks = [run.step.pairs.pack_portions(rows, 0, "cpu", Processes(rank, 3), 2) for rank in range(3)]
    assert all(of_ranks)
    parts = [portion for portions in of_ranks for portion in portions]
    for task, indices in rows.items():
        places = [portion.batch.places[task].tolist() for portion in parts if task not in portion.idle]
        assert sorted(place for own in places for place in own) == list(range(len(indices)))


def test_a_loss_that_is_not_finite_changes_nothing(run, monkeypatch):
    loss = Classification.training_loss
    monkeypatch.setattr(Classification, "training_loss", lambda *given: loss(*given) * torch.nan)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    step = step_of(run, "total", 4)
    with pytest.raises(NotFiniteError, match="the loss of task mood is nan"):
        step(ROWS)
    run.model.zero_grad()
    assert all(torch.equal(before[name], value) for name, value in run.model.state_dict().items())


# Loss weights


def of_task(run, gradients, task):
    """Return the gradients of a task's adapters and head."""
    part = f"_parts.{run.model.task_names.index(task)}."
    return torch.cat([each.flatten() for name, each in gradients.items() if name.startswith(part)])


@pytest.mark.parametrize("rows", [ROWS, {"near": ROWS["near"]}], ids=["all tasks", "one task"])
@pytest.mark.parametrize(
    ("balancing", "accumulate", "factor"),
    [("total", 1, 2), ("total", 4, 2), ("dynamic_weight_average", 1, 2), ("pcgrad", 1, 2), ("squared", 1, 4)],
)
def test_a_loss_weight_multiplies_the_gradients_of_its_task(run, rows, balancing, accumulate, factor):
    if len(rows) == 1:
        factor = 2  # a step of one task is not balanced
    one, two = (results_of(run, rows, balancing, accumulate, None, weight) for weight in (1.0, 2.0))
    assert two[0] == one[0]
    for task in rows:
        expected = of_task(run, one[1], task) * (factor if task == "near" else 1)
        assert torch.equal(of_task(run, two[1], task), expected), "a power of two changes no rounding"


def test_famo_cancels_a_loss_weight(run):
    ratios = []
    for weight in (1.0, 3.0):
        _, gradients, _ = results_of(run, ROWS, "famo", 1, None, weight)
        ratios.append(float(of_task(run, gradients, "near").norm() / of_task(run, gradients, "mood").norm()))
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-5)
