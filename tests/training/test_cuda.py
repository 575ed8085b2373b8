"""Results on a GPU compared with those on the CPU; skipped without a GPU."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from components import every
from tiny_runs import QUIET
from torch import nn
from word_salad import sentences

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.dropout import keyed
from mbert_cli.encoder.kernels import Pending, plain
from mbert_cli.evaluation.options import EvaluationFiles
from mbert_cli.evaluation.run_outcomes import run_outcomes
from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import component_class, load_recipe, options_model
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import fit
from mbert_cli.training.options import RunOptions

pytestmark = pytest.mark.gpu
# Without dropout, so that only rounding differs. A linear schedule would hide lost steps.
NO_DROPOUT = (
    "curriculum=simultaneous",
    "training.schedule=constant",
    "tasks.mood.head.dropout=0",
    "tasks.same.head.dropout=0",
    "training.epochs=2",
)


@pytest.fixture
def steady_recipe(tiny_recipe, tiny_checkpoint, tmp_path):
    """The tiny recipe on a checkpoint without dropout."""
    copy = tmp_path / "steady"
    copy.mkdir()
    for file in tiny_checkpoint.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (copy / "config.json").write_text(json.dumps(config))
    tiny_recipe.write_text(tiny_recipe.read_text().replace(str(tiny_checkpoint), str(copy)))
    return tiny_recipe


def train(recipe, folder, *settings, device="cuda", precision="fp32", **options):
    folder.mkdir(exist_ok=True)
    fit(load_recipe(str(recipe), settings), RunFolder(folder), RunOptions(choose(device, precision), QUIET, **options))
    return RunFolder(folder).read_metrics()


# Attention


@pytest.mark.parametrize(("heads", "size"), [(1, 32), (4, 32), (6, 17)])
def test_flash_attention_and_its_gradients_equal_the_formula(heads, size):
    torch.manual_seed(0)
    lengths = [3, 20, 17, 1, 40, 130]
    exact = torch.randn(sum(lengths), 3 * size * heads).to(torch.bfloat16).double().requires_grad_()
    weights = torch.randn(sum(lengths), size * heads).double()
    found = []
    for start, end in pairwise(np.append(0, np.cumsum(lengths)).tolist()):
        q, k, v = exact[start:end].view(end - start, 3, heads, size).permute(1, 2, 0, 3)
        mixed = (q @ k.mT / size**0.5).softmax(-1) @ v
        found.append(mixed.transpose(0, 1).reshape(end - start, -1))
    (torch.cat(found) * weights).sum().backward()
    qkv = exact.detach().to("cuda", torch.bfloat16).requires_grad_()
    assert plain.has_flash_attention(qkv, size)
    y = plain.attend(Pending(qkv), Layout(lengths, device="cuda"), heads, 0.0)
    (y.double() * weights.cuda()).sum().backward()
    assert (y.double().cpu() - torch.cat(found)).abs().max() < 0.03
    assert (qkv.grad.double().cpu() - exact.grad).abs().max() < 0.02 * exact.grad.abs().max()


@pytest.mark.parametrize("name", ["torch", "triton"])
def test_attention_on_a_gpu_draws_the_masks_of_the_cpu(name):
    """All scores are equal and a value has its own column, so an output is a row of weights."""
    qkv = torch.zeros(60, 3 * 32, dtype=torch.bfloat16)
    qkv[:, 64:84] = torch.eye(20).repeat(3, 1)
    with keyed(1, 2):
        expected = plain.attend(Pending(qkv), Layout([20] * 3), 1, 0.5) != 0
    with keyed(1, 2), kernels.using(name):
        drawn = kernels.current().attend(Pending(qkv.cuda()), Layout([20] * 3, device="cuda"), 1, 0.5) != 0
    assert torch.equal(drawn.cpu(), expected)


# Training


@every("adapters")
def test_an_adapter_trains_on_a_gpu_as_on_the_cpu(steady_recipe, tmp_path, kind, options):
    settings = (*NO_DROPOUT, f"adapters={json.dumps([{'kind': kind, **options}])}")
    gpu, cpu = (train(steady_recipe, tmp_path / device, *settings, device=device) for device in ("cuda", "cpu"))
    assert gpu[0]["hardware"] == {"device": "cuda", "precision": "fp32"}
    for one, other in zip(gpu, cpu, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=2e-3)


@every("heads")
def test_a_head_trains_on_a_gpu_as_on_the_cpu(steady_recipe, tmp_path, kind, options):
    pair = kind not in ("classification", "regression")
    task = "same" if "classification" in kind and pair else "near" if pair or kind == "regression" else "mood"
    known = options_model(component_class("heads", kind)).model_fields
    options = {**options, **({"dropout": 0} if "dropout" in known else {})}
    kept = [each for each in NO_DROPOUT if not each.startswith(f"tasks.{task}.head")]
    settings = [*kept, f"tasks.{task}.head={json.dumps({'kind': kind, **options})}"]
    runs = [train(steady_recipe, tmp_path / device, *settings, device=device) for device in ("cuda", "cpu")]
    for one, other in zip(*runs, strict=True):
        assert all(np.isfinite(list(one["train_loss"].values())))
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=2e-3)


@pytest.mark.parametrize("pooling", ["cls", "{kind: cls, pooler: true}", "mean", "max"])
def test_a_pooling_trains_on_a_gpu_as_on_the_cpu(steady_recipe, tmp_path, pooling):
    settings = (*NO_DROPOUT, f"pooling={pooling}")
    runs = [train(steady_recipe, tmp_path / device, *settings, device=device) for device in ("cuda", "cpu")]
    for one, other in zip(*runs, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=2e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_repeated_run_is_the_same(tiny_recipe, tmp_path, precision):
    """The backward pass of flash attention adds in any order unless it is set to be deterministic."""
    one, other = (train(tiny_recipe, tmp_path / name, precision=precision) for name in "ab")
    assert [line.train_loss for line in one] == [line.train_loss for line in other]
    assert [line.tasks for line in one] == [line.tasks for line in other]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_equals_an_uninterrupted_one(tiny_recipe, tmp_path, precision):
    settings = ("training.schedule=constant", "curriculum=simultaneous")
    whole = train(tiny_recipe, tmp_path / "a", *settings, "training.epochs=4", precision=precision)
    train(tiny_recipe, tmp_path / "b", *settings, "training.epochs=2", precision=precision)
    resumed = train(tiny_recipe, tmp_path / "b", *settings, "training.epochs=4", precision=precision, resume=True)
    assert [line.train_loss for line in whole] == [line.train_loss for line in resumed]


def test_a_run_moves_from_the_cpu_to_a_gpu_and_back(steady_recipe, tmp_path):
    losses = {}
    for name, devices in {"cpu": ("cpu", "cpu", "cpu"), "both": ("cpu", "cuda", "cpu")}.items():
        for epochs, device in enumerate(devices, 1):
            settings = (*NO_DROPOUT[:-1], f"training.epochs={epochs}")
            options = {"resume": epochs > 1, "allow_drift": True}
            lines = train(steady_recipe, tmp_path / name, *settings, device=device, **options)
        losses[name] = [line.train_loss for line in lines]
    for one, other in zip(losses["cpu"], losses["both"], strict=True):
        assert one == pytest.approx(other, rel=2e-3)


def test_members_train_on_a_gpu(tiny_recipe, tmp_path):
    from mbert_cli.training.members import fit_members

    run = tmp_path / "run"
    run.mkdir()
    recipe = load_recipe(str(tiny_recipe), ("training.members=2",))
    fit_members(recipe, RunFolder(run), RunOptions(choose("cuda"), QUIET))
    texts = {"text": sentences(30, 5)}
    one, other = (Predictor(run, device=device, precision="fp32")(texts, task="mood") for device in ("cuda", "cpu"))
    assert np.abs(np.array(one["p_low"]) - np.array(other["p_low"])).max() < 1e-4


# Prediction


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_trained_on_a_gpu_has_the_same_scores_on_the_cpu(tiny_recipe, tmp_path, precision):
    train(tiny_recipe, tmp_path / "run", precision=precision)
    found = [
        run_outcomes(
            Predictor(tmp_path / "run", device=device, precision=precision), EvaluationFiles(), QUIET
        ).evaluation()
        for device in ("cuda", "cpu")
    ]
    gpu, cpu = (each.metrics["tasks"] for each in found)
    for task in cpu:
        assert gpu[task]["loss"] == pytest.approx(cpu[task]["loss"], rel=1e-4 if precision == "fp32" else 0.05)


def test_batches_are_halved_if_gpu_memory_is_short(tiny_recipe, tmp_path, monkeypatch):
    train(tiny_recipe, tmp_path / "run", "training.epochs=1")
    predictor = Predictor(tmp_path / "run", device="cuda", precision="fp32")
    texts = {"text": sentences(200, 7)}
    expected = predictor(texts, task="mood")["p_low"]
    forward = nn.Module.__call__
    sizes = []

    def short(self, *args, **kwargs):
        if self is predictor.saved.model:
            sizes.append(args[0].layout.num_sentences)
            if sizes[-1] > 60:
                torch.empty(1 << 62, dtype=torch.uint8, device="cuda")  # more than any GPU has
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__call__", short)
    assert predictor(texts, task="mood")["p_low"] == pytest.approx(expected, abs=1e-5)
    assert max(sizes) > 60
    assert min(sizes) <= 60
