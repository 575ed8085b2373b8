"""Steps as CUDA graphs equal steps without graphs, bit for bit; on a CPU with a stand-in for CUDA graphs."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch
from cpu_graphs import gpu_steps
from tiny_runs import QUIET

from mbert_cli.errors import NotFiniteError
from mbert_cli.heads.cosine_similarity import CosineSimilarity
from mbert_cli.machine.hardware import choose
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.components import build, kinds, load_recipe
from mbert_cli.recipe.sections import Component
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training import step_graphs
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions
from mbert_cli.training.state import TrainingState
from mbert_cli.training.step import OptimizerStep
from mbert_cli.training.why_no_graphs import why_no_graphs

COMMON = ("encoder.dropout=0.2", "training.schedule=linear", "training.warmup=0.5", "training.clip_norm=0.5")
LOW_RANK_TOP = "adapters=[{kind: low_rank, rank: 4, init_std: 0.1}, {kind: top}]"


@pytest.fixture(scope="module")
def prepared(even_checkpoint, tiny_files, tmp_path_factory):
    """Return a function that returns a run with some settings."""
    folder = tmp_path_factory.mktemp("graphs")
    recipe = tiny.write_recipe(folder / "recipe.yaml", even_checkpoint, tiny_files)
    (folder / "run").mkdir()

    def prepare_with(*settings, precision="fp32", device="cpu"):
        kernels = "torch" if device == "cpu" else "fused"
        loaded = load_recipe(str(recipe), [*COMMON, *settings])
        return prepare(loaded, RunFolder(folder / "run"), RunOptions(choose(device, precision, kernels), QUIET))

    return prepare_with


def rows_of(step):
    """Return rows that differ in each step; every third step has more of them."""
    sizes, count = {"mood": 20, "same": 30, "near": 12}, 5 if step % 3 == 2 else 3
    return {task: np.random.default_rng(step).permutation(size)[:count] for task, size in sizes.items()}


def step_of(run, balancing="total", device="cpu"):
    goals = {task: run.model.head(task).goal for task in run.model.task_names}
    learner = replace(run.setup.learner, balancing=build("loss_balancing", Component(kind=balancing), goals).to(device))
    return OptimizerStep(replace(run.setup, learner=learner), TrainingState(), torch.device(device))


def values_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def everything_of(run, step):
    """Return all values that a run saves: weights, moments and the state of the balancing."""
    values = {**run.model.state_dict(), **{f"b {name}": v for name, v in step.update.balancing.state_dict().items()}}
    moments = run.setup.learner.optimizer.state
    for number, state in enumerate(moments[each] for each in run.model.parameters() if each in moments):
        values |= {f"{number} {name}": value for name, value in state.items()}
    return {name: value.clone() for name, value in values.items()}


def assert_equal(some, others):
    assert some.keys() == others.keys()
    assert [name for name in some if not torch.equal(some[name], others[name])] == []


def trained(run, graphs, steps, balancing="total", tasks=lambda step: None):
    """Take steps; return their losses, all values after them, and the stand-ins for CUDA graphs."""
    with gpu_steps(graphs) as made:
        step = step_of(run, balancing)
        for number in range(steps):
            chosen = tasks(number)
            run.model.train_only(chosen)
            rows = rows_of(number)
            step({task: rows[task] for task in chosen or rows})
        losses = [result.losses for result in step.read()]
    return losses, everything_of(run, step), step, made


def assert_same_bits(prepare, steps, *chosen):
    """Take steps without and with graphs, and compare everything; return the step and the stand-in for graphs."""
    (losses, values, eager, _), (graph_losses, graph_values, step, (stand_in,)) = (
        trained(prepare(), graphs, steps, *chosen) for graphs in (False, True)
    )
    assert (eager.graphs, step.graphs.problem) == (None, None)
    assert losses == graph_losses
    assert_equal(values, graph_values)
    return step, stand_in


def test_twenty_steps_of_three_tasks_with_adapters_have_the_same_bits(prepared):
    _, stand_in = assert_same_bits(lambda: prepared(LOW_RANK_TOP, "tasks.near.token_dropout=0.3"), 20)
    assert (len(stand_in.captured), stand_in.replays) == (2, 18)


def test_shapes_beyond_the_largest_number_of_graphs_run_without(prepared, monkeypatch):
    monkeypatch.setattr(step_graphs, "_MOST_GRAPHS", 1)
    _, stand_in = assert_same_bits(lambda: prepared("adapters=[]"), 7)
    assert (len(stand_in.captured), stand_in.replays) == (1, 4)  # steps 2, 4, 5 and 7; steps 3 and 6 have more rows


def test_phases_that_freeze_the_encoder_have_the_same_bits_in_bf16(prepared):
    """Copies of weights in bf16 stay up to date if other graphs, or steps without graphs, change the weights."""
    phases = [None, None, ["mood"], None, ["mood"], ["same"], ["mood"], None]
    settings = (LOW_RANK_TOP, "training.head_learning_rate=0.01", "training.layer_decay=0.9")
    step, stand_in = assert_same_bits(lambda: prepared(*settings, precision="bf16"), 8, "total", phases.__getitem__)
    # Low rank adapters are grouped products; each combination of tasks has its own stack of their weights.
    assert all("_grouped_mm" in captured.names for captured in stand_in.captured)
    assert step.model.renew_copies(step.model.task_names) == []  # the last graph has updated all of them
    assert len(step.graphs._shapes) == 4
    assert stand_in.replays == 4


@pytest.mark.parametrize("balancing", [kind for kind in kinds("loss_balancing") if kind not in ("pcgrad", "total")])
def test_balancings_have_the_same_bits(prepared, balancing):
    _, stand_in = assert_same_bits(lambda: prepared("adapters=[]"), 5, balancing)
    assert stand_in.replays == 3


def test_a_resumed_run_has_the_same_bits(prepared):
    """After a resumption, other steps warm up, capture and replay the graphs."""
    _, expected, _, _ = trained(prepared(LOW_RANK_TOP), True, 9)
    first, last = prepared(LOW_RANK_TOP), prepared(LOW_RANK_TOP)
    trained(first, True, 5)
    with gpu_steps():
        last.model.load_state_dict(first.model.state_dict())
        of_first, of_last = (run.setup.learner.optimizer.state for run in (first, last))
        for one, other in zip(first.model.parameters(), last.model.parameters(), strict=True):
            if one in of_first:
                of_last[other].update({name: value.clone() for name, value in of_first[one].items()})
        step = step_of(last)
        for step.state.step in range(5, 9):
            step(rows_of(step.state.step))
        step.read()
    assert_equal(everything_of(last, step), expected)


def test_a_capture_changes_nothing(prepared, monkeypatch):
    run = prepared(LOW_RANK_TOP)
    with gpu_steps():
        step, states = step_of(run), []
        step(rows_of(0))
        capture = step.graphs._capture

        def watched(*arguments):
            states.append(everything_of(run, step))
            captured = capture(*arguments)
            states.append(everything_of(run, step))
            assert all(parameter.grad is None for parameter in run.model.parameters())
            return captured

        monkeypatch.setattr(step.graphs, "_capture", watched)
        step(rows_of(1))
        states.append(everything_of(run, step))
        step.read()
    before, after, replayed = states
    assert_equal(before, after)
    assert not torch.equal(after["encoder.layers.0.output.weight"], replayed["encoder.layers.0.output.weight"])


@pytest.mark.parametrize("step_with_nan", [1, 3])  # it is captured, or only replayed
def test_a_loss_that_is_not_finite_leaves_all_weights_unchanged(prepared, step_with_nan):
    run = prepared(LOW_RANK_TOP)
    with gpu_steps():
        step, states = step_of(run), [values_of(run.model)]
        for number in range(5):
            if number == step_with_nan:
                run.setup.data.train["near"].labels[:] = np.inf  # `step.pairs` reads the same array
            step({task: rows[:3] for task, rows in rows_of(number).items()})
            states.append(values_of(run.model))
        with pytest.raises(NotFiniteError, match="the loss of task near is inf"):
            step.read()
    moved = [any(not torch.equal(one[name], two[name]) for name in one) for one, two in pairwise(states)]
    assert moved == [number < step_with_nan for number in range(5)]


def test_training_continues_without_graphs_if_a_step_cannot_be_captured(prepared, monkeypatch, caplog):
    loss = CosineSimilarity.training_loss

    def reading(*given):
        value = loss(*given)
        return value if value.isfinite() else value * 0

    monkeypatch.setattr(CosineSimilarity, "training_loss", reading)
    (losses, values, _, _), (graph_losses, graph_values, step, (stand_in,)) = (
        trained(prepared("adapters=[]"), graphs, 4) for graphs in (False, True)
    )
    assert losses == graph_losses
    assert_equal(values, graph_values)
    assert stand_in.replays == 0
    assert "not permitted when stream is capturing" in step.graphs.problem
    assert caplog.text.count("training continues without CUDA graphs: a step cannot be captured: ") == 1


REASONS = {
    "adapters=[{kind: prefix}]": "the adapters of tasks.mood have prefixes",
    "training.accumulate=2": "training.accumulate divides a step into micro-batches",
    "training.gradient_checkpointing=true": "training.gradient_checkpointing computes activations again",
    "tasks.mood.windows={stride: 2}": "the number of windows of tasks.mood differs between steps",
    "tasks.near.head={kind: dual_similarity, late_interaction: true}": "tasks.near.head compares texts token by token",
    "loss_balancing=pcgrad": "loss_balancing pcgrad needs the CPU",
}


@pytest.mark.parametrize("setting", REASONS)
def test_the_reason_why_a_run_trains_without_graphs(prepared, setting):
    with gpu_steps():
        assert why_no_graphs(prepared(setting).setup, torch.device("cpu"), ALONE) == REASONS[setting]


def test_reasons_in_options_that_need_other_files(prepared):
    setup, cpu = prepared("adapters=[]").setup, torch.device("cpu")
    recipe = setup.recipe
    cached = recipe.model_copy(update={"training": recipe.training.model_copy(update={"cache_features": True})})
    tasks = {name: task.model_copy(update={"soft_labels": "annealed"}) for name, task in recipe.tasks.items()}
    annealed = recipe.model_copy(update={"tasks": tasks})
    with gpu_steps():
        assert "copies hidden states in each step" in why_no_graphs(replace(setup, recipe=cached), cpu, ALONE)
        reason = why_no_graphs(replace(setup, recipe=annealed), cpu, ALONE)
        assert reason == "the weight of the soft labels of tasks.mood changes in each step"


@pytest.mark.parametrize("features", [64, 65])
def test_heads_of_pal_with_more_than_64_features_are_a_reason(prepared, features):
    setup = prepared("adapters=[{kind: pal, rank: 6, heads: 2}]").setup
    (pal,) = setup.learner.model.task("mood").adapters
    pal.down = torch.nn.Linear(32, 2 * features)
    with gpu_steps():
        reason = why_no_graphs(setup, torch.device("cpu"), ALONE)
    expected = "the fused kernels do not compute the attention of tasks.mood.adapters"
    assert reason == (None if features == 64 else expected)


def test_other_reasons(prepared, monkeypatch):
    setup, cpu = prepared("adapters=[]").setup, torch.device("cpu")
    assert why_no_graphs(setup, cpu, ALONE) == "CUDA graphs run on NVIDIA GPUs only"
    with gpu_steps():
        assert why_no_graphs(setup, cpu, ALONE) is None
        assert why_no_graphs(setup, cpu, Processes(0, 2)) == "several processes train together"
        setup.learner.model.compute_with(torch.float32, "fused")
        assert "they need the fused kernels" in why_no_graphs(setup, cpu, ALONE)
        setup.learner.model.compute_with(torch.float32, "torch")
        for change in ({"rotary_theta": 1.0}, {"hidden_size": 1024}):
            shape = replace(setup.learner.model.encoder.shape, **change)
            monkeypatch.setattr(setup.learner.model.encoder, "shape", shape)
            assert "do not compute the attention of this encoder" in why_no_graphs(setup, cpu, ALONE)


# On a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("balancing", ["total", "famo"])
def test_twenty_steps_on_a_gpu_have_the_same_bits(prepared, precision, balancing):
    results = []
    for graphs in (False, True):
        run = prepared(LOW_RANK_TOP, precision=precision, device="cuda")
        step = step_of(run, balancing, "cuda")
        assert step.graphs is not None
        if not graphs:
            step.run_without_graphs()
        taken = [result for number in range(20) for result in step(rows_of(number))]
        results.append(([result.losses for result in (*taken, *step.read())], everything_of(run, step)))
    (losses, values), (graph_losses, graph_values) = results
    assert step.graphs.problem is None
    assert any(shape.replay is not None for shape in step.graphs._shapes.values())
    assert losses == graph_losses
    assert_equal(values, graph_values)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(rows_of(18))  # the CPU does not wait
    finally:
        torch.cuda.set_sync_debug_mode("default")
