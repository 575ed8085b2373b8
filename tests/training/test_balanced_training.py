"""Loss balancing and curricula in whole runs."""

import json

import numpy as np
import pytest
import torch
from crashes import dying_after
from tiny_runs import options

from mbert_cli.curricula import Phase
from mbert_cli.curricula.sequential import Sequential
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.errors import UsageError
from mbert_cli.loss_balancing.famo import FAMO
from mbert_cli.loss_balancing.pcgrad import PCGrad
from mbert_cli.loss_balancing.uncertainty import Uncertainty
from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import component_class, kinds, load_recipe, options_model
from mbert_cli.model.tensor_files import read_tensors
from mbert_cli.randomness import permutation
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.fit import fit
from mbert_cli.training.options import RunOptions
from mbert_cli.training.step import OptimizerStep
from mbert_cli.training.step_update import shared_of

BALANCINGS = kinds("loss_balancing")
SAMPLING = ["annealed", "proportional", "round_robin", "square_root", "temperature"]
SIMULTANEOUS = ("curriculum=simultaneous", "training.epochs=3")


class Listener(Console):
    """Keeps the printed lines."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def info(self, line, strong=""):
        self.lines.append(line)


def train(recipe, folder, *settings, resume=False, precision="fp32"):
    folder.mkdir(exist_ok=True)
    console = Listener()
    fit(load_recipe(str(recipe), settings), RunFolder(folder), options(precision, console, resume=resume))
    return console.lines


def states(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in ("state", "model")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("balancing", ["famo", "gradnorm", "pcgrad"])
def test_a_balanced_run_of_micro_batches_in_bf16_resumed_is_byte_identical(tiny_recipe, tmp_path, balancing):
    settings = (*SIMULTANEOUS, f"loss_balancing={balancing}", "training.accumulate=2")
    train(tiny_recipe, tmp_path / "whole", *settings, precision="bf16")
    with dying_after(2):
        train(tiny_recipe, tmp_path / "killed", *settings, precision="bf16")
    train(tiny_recipe, tmp_path / "killed", *settings, precision="bf16", resume=True)
    assert states(tmp_path / "killed") == states(tmp_path / "whole")


def test_a_hybrid_run_with_dynamic_weight_average_resumed_between_simultaneous_epochs_is_byte_identical(
    tiny_recipe, tmp_path
):
    settings = ("loss_balancing=dynamic_weight_average", "training.epochs=6")
    train(tiny_recipe, tmp_path / "whole", *settings)
    with dying_after(3):
        train(tiny_recipe, tmp_path / "killed", *settings)
    train(tiny_recipe, tmp_path / "killed", *settings, resume=True)
    assert states(tmp_path / "killed") == states(tmp_path / "whole")


def test_every_balancing_trains_another_model(tiny_recipe, tmp_path):
    models = set()
    for balancing in BALANCINGS:
        train(tiny_recipe, tmp_path / balancing, *SIMULTANEOUS, f"loss_balancing={balancing}")
        models.add((tmp_path / balancing / "state" / "epoch-0003" / "encoder" / "model.safetensors").read_bytes())
    assert len(models) == len(BALANCINGS)


def test_under_hybrid_only_simultaneous_epochs_count_for_dynamic_weight_average(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "loss_balancing=dynamic_weight_average", "training.epochs=5")
    metrics = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    state = read_tensors(tmp_path / "a" / "state" / "epoch-0005" / "balancing.safetensors")
    assert state["epochs"].item() == 2
    # 20 rows are read in batches of 8, 8 and 4, so that the mean over batches differs slightly from that over rows.
    for name, line in (("before", metrics[1]), ("last", metrics[3])):
        assert state[name].tolist() == pytest.approx(list(line["train_loss"].values()), rel=0.2)


def test_a_damaged_state_of_a_loss_balancing_is_detected(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "loss_balancing=famo", "curriculum=simultaneous", "training.epochs=1")
    with pytest.raises(UsageError, match="loss_balancing"):
        train(
            tiny_recipe,
            tmp_path / "a",
            "loss_balancing=gradnorm",
            "curriculum=simultaneous",
            "training.epochs=2",
            resume=True,
        )


def test_a_loss_balancing_receives_which_tasks_are_regressions(tiny_recipe, tmp_path, monkeypatch):
    factors = []
    backward = Uncertainty.backward

    def watched(self, losses, shared):
        factors.append(dict(zip(losses, self.factors.tolist(), strict=True)))
        backward(self, losses, shared)

    monkeypatch.setattr(Uncertainty, "backward", watched)
    train(tiny_recipe, tmp_path / "a", "curriculum=simultaneous", "loss_balancing=uncertainty", "training.epochs=1")
    assert factors == [{"mood": 1, "same": 1, "near": 0.5}] * 3


def test_the_gradients_of_pcgrad_on_a_model_are_those_of_the_paper(tiny_recipe, tmp_path, monkeypatch):
    """Computed with NumPy on whole vectors, from the gradients of each task before clipping."""
    compared = []
    backward = PCGrad.backward

    def compare(self, losses, shared):
        gradients = []
        for loss in losses.values():
            found = torch.autograd.grad(loss, shared.parameters, retain_graph=True, allow_unused=True)
            found = [
                torch.zeros_like(p) if g is None else g.to_dense() if g.is_sparse else g
                for g, p in zip(found, shared.parameters, strict=True)
            ]
            gradients.append(torch.cat([each.flatten() for each in found]).double().numpy())
        orders = [permutation(len(gradients), shared.seed, "order", task).tolist() for task in range(len(gradients))]
        expected = np.zeros_like(gradients[0])
        for k, order in enumerate(orders):
            left = gradients[k].copy()
            for j in order:
                if j != k and left @ gradients[j] < 0:
                    left -= (left @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
            expected += left
        backward(self, losses, shared)
        actual = [torch.zeros_like(p) if p.grad is None else p.grad for p in shared.parameters]
        actual = torch.cat([each.flatten() for each in actual]).double().numpy()
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())
        compared.append(np.abs(actual - sum(gradients)).max() > 1e-3 * np.abs(actual).max())

    monkeypatch.setattr(PCGrad, "backward", compare)
    train(tiny_recipe, tmp_path / "a", *SIMULTANEOUS, "loss_balancing=pcgrad")
    assert len(compared) == 9
    assert any(compared), "no step had a conflict"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_second_pass_draws_the_same_dropout(tiny_recipe, tmp_path, monkeypatch, precision):
    """With an optimizer that changes nothing, its losses are bit-identical to those of the first pass."""
    compared = []

    def compare(self, losses_again):
        again = losses_again()
        compared.append([loss.item() for loss in again.values()] == self._before.tolist())

    monkeypatch.setattr(FAMO, "after_step", compare)
    monkeypatch.setattr(RowwiseAdamW, "step", lambda self: None)
    train(tiny_recipe, tmp_path / "a", *SIMULTANEOUS, "loss_balancing=famo", precision=precision)
    assert compared == [True] * 9


@pytest.mark.parametrize("balancing", BALANCINGS)
def test_steps_of_several_tasks_that_train_own_parameters_leave_the_encoder_unchanged(
    tiny_recipe, tmp_path, monkeypatch, balancing
):
    def phases(self, epoch, sizes, batch_size):
        return [Phase([tuple(sizes)] * 3, dict.fromkeys(sizes, 3 * batch_size), "own")]

    seen = []

    def watched(model, seed):
        shared = shared_of(model, seed)
        seen.append((len(shared.parameters), shared.last_weight))
        return shared

    monkeypatch.setattr(Sequential, "phases", phases)
    monkeypatch.setattr("mbert_cli.training.step_update.shared_of", watched)
    settings = ("curriculum=sequential", "training.epochs=1", f"loss_balancing={balancing}")
    lines = train(tiny_recipe, tmp_path / "a", *settings)
    assert seen == [(0, None)] * 3
    assert not (tmp_path / "a" / "model" / "encoder" / "model.safetensors").exists()
    assert not any("no effect" in line for line in lines)


@pytest.mark.parametrize("curriculum", ["sequential", *SAMPLING])
def test_a_loss_balancing_without_effect_is_reported_once(tiny_recipe, tmp_path, curriculum):
    lines = train(tiny_recipe, tmp_path / "a", f"curriculum={curriculum}", "loss_balancing=gradnorm")
    message = [line for line in lines if "no effect" in line]
    assert message == [
        f"loss_balancing gradnorm has no effect: under curriculum {curriculum} "
        "every step of this run has one task only."
    ]


@pytest.mark.parametrize("settings", [("loss_balancing=gradnorm",), ("curriculum=sequential",)])
def test_a_loss_balancing_with_an_effect_is_not_reported(tiny_recipe, tmp_path, settings):
    assert not any("no effect" in line for line in train(tiny_recipe, tmp_path / "a", *settings))


def test_a_curriculum_that_depends_on_the_number_of_epochs_is_not_resumed_with_more(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "curriculum=annealed", "training.epochs=1")
    with pytest.raises(UsageError, match="training.epochs was 1 and is now 2"):
        train(tiny_recipe, tmp_path / "a", "curriculum=annealed", "training.epochs=2", resume=True)
    train(tiny_recipe, tmp_path / "b", "curriculum=square_root", "training.epochs=1")
    train(tiny_recipe, tmp_path / "b", "curriculum=square_root", "training.epochs=2", resume=True)


@pytest.mark.parametrize("kind", [None, *kinds("adapters")])
def test_a_phase_that_trains_own_parameters_leaves_all_others_bit_identical(tiny_recipe, tmp_path, monkeypatch, kind):
    phases = []
    take_step = OptimizerStep.__call__

    def watched(self, rows):
        (task,) = rows
        before = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        losses = take_step(self, rows)
        place = f"_parts.{self.model.task_names.index(task)}."
        changed = {name for name, value in self.model.state_dict().items() if not torch.equal(before[name], value)}
        assert all(name.startswith(place) for name in changed)
        phases.append((task, any(name.startswith(f"{place}adapters.") for name in changed)))
        return losses

    monkeypatch.setattr(OptimizerStep, "__call__", watched)
    adapters = []
    if kind is not None:
        options = options_model(component_class("adapters", kind)).model_fields
        adapters = [{"kind": kind, **({"rank": 12} if "rank" in options else {})}]
    settings = ("curriculum={kind: sequential, freeze: true}", "training.head_learning_rate=0.01")
    train(tiny_recipe, tmp_path / "a", *settings, f"adapters={json.dumps(adapters)}")
    assert {task for task, _ in phases} == {"mood", "same", "near"}
    if kind is not None:
        assert {task for task, moved in phases if moved} == {"mood", "same", "near"}


@pytest.mark.gpu
@pytest.mark.parametrize("balancing", BALANCINGS)
def test_a_balanced_run_trains_and_resumes_on_a_gpu(tiny_recipe, tmp_path, balancing):
    settings = ("curriculum=simultaneous", f"loss_balancing={balancing}")
    for epochs in (1, 3):
        (tmp_path / "a").mkdir(exist_ok=True)
        recipe = load_recipe(str(tiny_recipe), (*settings, f"training.epochs={epochs}"))
        fit(recipe, RunFolder(tmp_path / "a"), RunOptions(choose("cuda"), Listener(), resume=epochs > 1))
    state = tmp_path / "a" / "state" / "epoch-0003"
    assert len(RunFolder(tmp_path / "a").read_metrics()) == 3
    # Some loss balancings have no values.
    for file in state.glob("balancing.safetensors"):
        assert all(value.isfinite().all() for value in read_tensors(file).values())
