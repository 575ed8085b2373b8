"""A training step on a GPU never makes the CPU wait for the GPU; results are read some steps late."""

import math
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from components import OPTIONS
from gpu_waits import gpu_waits, reading_late
from tiny_runs import QUIET, train

import mbert_cli
from mbert_cli.errors import NotFiniteError
from mbert_cli.heads.pair_classification import PairClassification
from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import build, kinds, load_recipe
from mbert_cli.recipe.sections import Component
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions
from mbert_cli.training.state import TrainingState
from mbert_cli.training.step import OptimizerStep
from mbert_cli.training.step_results import LATE

PLACE = str(Path(mbert_cli.__file__).parent / "some.py")
ROWS = {"mood": np.arange(8), "same": np.arange(8), "near": np.arange(8)}
BALANCINGS = [kind for kind in kinds("loss_balancing") if kind != "pcgrad"]  # PCGrad chooses what it projects
ADAPTERS = [{"kind": kind, **OPTIONS["adapters"].get(kind, [{}])[0]} for kind in kinds("adapters")]
ADAPTERS.append({"kind": "prefix", "length": 3, "gate": "none"})
FEATURES = (
    "adapters=[]",
    "pooling=max",
    "tasks.mood.head={kind: classification, labels: [low, mid, high], class_weights: balanced, focal: 2}",
    "tasks.same.head={kind: pair_classification, positive_weight: balanced, label_smoothing: 0.1}",
    "tasks.near.head={kind: dual_similarity, late_interaction: true}",
    "tasks.near.symmetric=true",
    "tasks.near.token_dropout=0.3",
    "tasks.mood.windows={stride: 2}",
    "tasks.near.loss_weight=0.5",
    "training.max_length=8",
    "training.gradient_checkpointing=true",
)


@pytest.fixture(scope="module")
def prepared(even_checkpoint, tiny_files, tmp_path_factory):
    """Return a function that returns a run with some settings."""
    folder = tmp_path_factory.mktemp("waits")
    recipe, run = tiny.write_recipe(folder / "recipe.yaml", even_checkpoint, tiny_files), folder / "run"
    run.mkdir()

    def prepare_with(*settings):
        return prepare(
            load_recipe(str(recipe), settings), RunFolder(run), RunOptions(choose("cpu", "bf16", "torch"), QUIET)
        )

    return prepare_with


def step_of(run, balancing="total", tasks=None):
    """Return a step of a run with a loss balancing, and the learner.

    Args:
        run: the run.
        balancing: the loss balancing.
        tasks: the tasks whose parameters train; None for all parameters.
    """
    run.model.train_only(tasks)
    goals = {task: run.model.head(task).goal for task in run.model.task_names}
    learner = replace(run.setup.learner, balancing=build("loss_balancing", Component(kind=balancing), goals))
    return OptimizerStep(replace(run.setup, learner=learner), TrainingState(), torch.device("cpu"))


def waits_of(run, balancing="total", rows=ROWS, tasks=None):
    """Return the waits of the second step; the first one makes the state of the optimizer."""
    with gpu_waits() as waits:
        step = step_of(run, balancing, tasks)
        assert step(rows) == []
        waits.clear()
        assert step(rows) == []
    assert len(step.read()) == 2
    return waits


@pytest.mark.parametrize("balancing", BALANCINGS)
def test_no_balancing_but_pcgrad_waits(prepared, balancing):
    assert waits_of(prepared(), balancing) == []


@pytest.mark.parametrize("part", range(3))
def test_no_adapter_waits(prepared, part):
    assert waits_of(prepared(f"adapters={ADAPTERS[part::3]}")) == []


@pytest.mark.parametrize("tasks", [None, ["mood"]], ids=["everything", "own"])
def test_a_step_of_one_task_does_not_wait(prepared, tasks):
    assert waits_of(prepared(), rows={"mood": ROWS["mood"]}, tasks=tasks) == []


def test_heads_and_options_of_tasks_do_not_wait(prepared):
    assert waits_of(prepared(*FEATURES)) == []


def test_micro_batches_do_not_wait(prepared):
    assert waits_of(prepared("training.accumulate=2")) == []


def test_the_counter_finds_waits():
    x = torch.arange(6.0)
    code = compile("float(x[0]); x[x > 1]; x.tolist(); torch.tensor([1]); x.to(torch.device('cpu'))", PLACE, "exec")
    with gpu_waits() as waits:
        exec(code, {"x": x, "torch": torch})
    names = [wait.partition(" ")[0] for wait in waits]
    assert names == ["aten._local_scalar_dense.default", "aten.index.Tensor", "tolist", "tensor", "to"]


# Values that are not finite


def values_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("part", ["loss", "norm"])
def test_after_a_value_that_is_not_finite_no_step_changes_a_weight(prepared, monkeypatch, part):
    run = prepared()
    loss, calls = PairClassification.training_loss, iter(range(1, 100))

    def poisoned(*given):
        value = loss(*given)
        if next(calls) != 3:
            return value
        # The square root of 0 is finite, but its derivative is not.
        return value * math.inf if part == "loss" else value + (value - value.detach()).sqrt()

    monkeypatch.setattr(PairClassification, "training_loss", poisoned)
    with reading_late():
        step = step_of(run)
        states = []
        for _ in range(5):
            assert step(ROWS) == []
            step.state.count_step(tokens=1, seconds=1.0)
            states.append(values_of(run.model))
        with pytest.raises(NotFiniteError) as raised:
            step.read()
    what = "the loss of task same is inf (task same, " if part == "loss" else "the gradient's norm is nan (task mood, "
    assert str(raised.value).startswith(f"epoch 1 of 2, step 3: {what}")
    assert "rows at lines 2, 3, 4" in str(raised.value)
    moved = [[name for name in one if not torch.equal(one[name], two[name])] for one, two in pairwise(states)]
    assert moved[0]
    assert moved[1:] == [[], [], []]


def test_results_are_read_in_order_and_late_by_a_fixed_number_of_steps(prepared):
    run = prepared()
    at_once = step_of(run)
    with reading_late():
        late = step_of(prepared())
        counts = [len(late(ROWS)) for _ in range(LATE + 3)]
        assert counts == [0] * LATE + [1] * 3
        assert len(late.read()) == LATE
        assert late.read() == []
    assert len(at_once(ROWS)) == 1


def test_a_run_that_reads_late_counts_the_same_losses_and_saves_the_same_weights(tiny_recipe, tmp_path):
    records = []
    for name in "ab":
        (tmp_path / name).mkdir()
        with reading_late() if name == "b" else nullcontext():
            train(tiny_recipe, tmp_path / name, "training.state_every=4", "training.epochs=1")
        records.append(RunFolder(tmp_path / name).read_metrics())
    assert [each.train_loss for each in records[0]] == [each.train_loss for each in records[1]]
    for part in ("model", "state"):
        files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a" / part).rglob("*.safetensors")]
        assert files
        for file in files:
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
