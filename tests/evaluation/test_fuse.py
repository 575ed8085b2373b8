"""`mbert fuse`: the mean of the weights of runs."""

import json
import shutil

import numpy as np
import pytest
import tiny
import torch
from crashes import contents
from random_models import untrained, write_run
from safetensors.torch import load_file
from tiny_runs import train

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.errors import CheckpointError, ResourceError, UsageError
from mbert_cli.evaluation import fuse as fusing
from mbert_cli.evaluation.fuse import _greedily
from mbert_cli.model.mean_weights import mean_of
from mbert_cli.model.saved_model import read_model
from mbert_cli.storage import atomic

QUICK = ("training.epochs=1", "tasks.near=null", "curriculum=simultaneous")
HARDWARE = ("--device", "cpu", "--precision", "fp32", "--kernels", "torch")


@pytest.fixture(scope="module")
def runs(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A folder with a recipe and runs: three seeds, and others that do not fit them."""
    folder = tmp_path_factory.mktemp("fuse")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    variants = {
        "a": ["training.seed=1"],
        "b": ["training.seed=2"],
    }
    untrained_ones = {
        "frozen": [],
        "frozen-2": ["training.seed=2"],
        "cls": ["pooling=cls"],
        "rank": ["adapters=[{kind: low_rank, rank: 2}, {kind: top}]"],
        "tasks": ["tasks.same=null"],
        "head": ["tasks.mood.head={kind: ordinal, labels: [low, mid, high]}"],
        "labels": ["tasks.mood.head={kind: classification, labels: [high, mid, low]}"],
        "length": ["training.max_length=12"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbert_cli.training.loop.draw_figures", lambda *_: None)
        for name, settings in variants.items():
            (folder / name).mkdir()
            train(recipe, folder / name, *QUICK, *settings)
    for name, settings in untrained_ones.items():
        write_run(folder / name, untrained(recipe, *QUICK, *settings))
    return folder


def fuse(runs, *words):
    app(["fuse", *(str(runs / each) if each in ("a", "b") else str(each) for each in words), *HARDWARE],
        standalone_mode=False)  # fmt: skip


def test_all_weights_are_the_mean_and_the_scores_are_those_of_evaluate(runs, tmp_path, capsys):
    fuse(runs, "a", "b", "-o", tmp_path / "mean", "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["run"] for line in lines] == [str(runs / "a"), str(runs / "b"), str(tmp_path / "mean")]
    files = [f"tasks/{name}.safetensors" for name in ("mood", "same")] + ["encoder/model.safetensors"]
    for file in files:
        one, two = (load_file(runs / name / "model" / file) for name in "ab")
        mean = load_file(tmp_path / "mean" / file)
        assert mean.keys() == one.keys()
        for name, value in mean.items():
            expected = (one[name].numpy().astype(np.float64) + two[name].numpy().astype(np.float64)) / 2
            assert np.array_equal(value.numpy(), expected.astype(np.float32)), name
        assert any(not torch.equal(value, one[name]) for name, value in mean.items())
    app(["evaluate", str(tmp_path / "mean"), "--json", *HARDWARE], standalone_mode=False)
    evaluated = json.loads(capsys.readouterr().out)
    assert lines[-1]["overall"] == pytest.approx(evaluated["overall"], abs=1e-12)
    app(["evaluate", str(runs / "b"), "--json", *HARDWARE], standalone_mode=False)
    assert lines[1]["overall"] == pytest.approx(json.loads(capsys.readouterr().out)["overall"], abs=1e-12)


def test_a_table_is_printed_and_the_card_names_the_runs(runs, tmp_path, capsys):
    fuse(runs, "a", "b", "-o", tmp_path / "mean")
    printed = capsys.readouterr()
    assert "mean of 2" in printed.out
    assert "mood accuracy" in printed.out
    card = (tmp_path / "mean" / "README.md").read_text()
    assert "- the mean of the weights of 2 runs: a, b\n" in card
    for file in tmp_path.rglob("*.json"):
        if file.name != "config.json":  # it names the encoder, as that of each run
            assert str(runs / "a") not in file.read_text()
    assert Predictor(tmp_path / "mean", device="cpu", precision="fp32", kernels="torch")(["a cat"], "mood")["pred"]
    model = read_model(tmp_path / "mean").model
    assert model.head("mood").decision.temperature == 1


def test_runs_that_did_not_train_the_encoder_refer_to_it(runs, tmp_path):
    fuse(runs, runs / "frozen", runs / "frozen-2", "-o", tmp_path / "mean", "-q")
    assert not list((tmp_path / "mean").rglob("encoder/*.safetensors"))
    config = json.loads((tmp_path / "mean" / "config.json").read_text())
    assert config["encoder_sha256"]
    assert (tmp_path / "mean" / config["encoder_path"] / "model.safetensors").is_file()
    Predictor(tmp_path / "mean", device="cpu", precision="fp32")


def test_the_mean_of_a_run_and_its_copy_is_the_run(runs, tmp_path):
    shutil.copytree(runs / "a", tmp_path / "copy")
    fuse(runs, "a", tmp_path / "copy", "-o", tmp_path / "mean", "-q")
    for part in ("tasks", "encoder"):
        assert contents(tmp_path / "mean" / part) == contents(runs / "a" / "model" / part)


def test_means_are_computed_without_overflow_or_drift():
    values = [torch.tensor([3e38, 1.0]), torch.tensor([3e38, 2.0]), torch.tensor([3e38, 4.0])]
    mean = mean_of({str(number): {"x": value} for number, value in enumerate(values)})["x"]
    assert mean.tolist() == [pytest.approx(3e38), torch.tensor(7 / 3).item()]


@pytest.mark.parametrize(("other", "size"), [({"x": torch.ones(3)}, r"\[3\]"), ({}, "missing")])
def test_weights_of_other_sizes_are_refused_with_the_name_of_the_run(other, size):
    with pytest.raises(UsageError, match=rf"^runs/b: x is {size}, but that of runs/a is \[2\]; fuse runs of one"):
        mean_of({"runs/a": {"x": torch.ones(2)}, "runs/b": other})


@pytest.mark.parametrize(
    ("scores", "means", "chosen"),
    [
        ([0.5, 0.7, 0.6], {(1, 2): 0.8, (0, 1, 2): 0.7}, [1, 2]),
        ([0.5, 0.7, 0.6], {(1, 2): 0.6, (0, 1): 0.7}, [0, 1]),
        ([0.5, 0.7], {(0, 1): 0.1}, [1]),
    ],
)
def test_a_greedy_mean_leaves_out_runs_that_lower_its_score(scores, means, chosen):
    from mbert_cli.evaluation.fuse import Scored

    assert _greedily(scores, lambda indices: Scored("", {"overall": means[tuple(indices)]})) == chosen


def test_greedy_scores_at_least_the_best_run(runs, tmp_path, capsys):
    fuse(runs, "a", "b", "-o", tmp_path / "mean", "--greedy", "--json")
    *parts, mean = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert mean["overall"] >= max(part["overall"] for part in parts) - 1e-12
    assert any(part["used"] for part in parts)


MISTAKES = {
    "pooling": ("cls", r"cls: the pooling is cls, but that of .*a is mean; fuse runs of one recipe\.$"),
    "rank": (
        "rank",
        r"adapters of task mood is low_rank\(rank=2\) \+ top, but that of .*a is low_rank\(rank=4\) \+ top",
    ),
    "tasks": ("tasks", r"tasks: the list of tasks is mood, but that of .*a is mood, same; fuse"),
    "head": ("head", r"the head of task mood is ordinal, but that of .*a is classification; fuse"),
    "labels": ("labels", r"labels of task mood is high, mid, low, but that of .*a is low, mid, high; fuse"),
    "length": ("length", r"the number of tokens that texts are cut at is 12, but that of .*a is 16; fuse"),
    "twice": ("a", r"mbert fuse: .*a is given twice; give each run once\.$"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_runs_that_do_not_fit_are_refused_with_both_values(name, runs, tmp_path):
    other, message = MISTAKES[name]
    with pytest.raises(UsageError, match=message) as refusal:
        fuse(runs, "a", runs / other, "-o", tmp_path / "mean")
    assert len(refusal.value.problems) == 1
    assert not list(tmp_path.iterdir())


def test_a_run_that_changed_while_it_was_read_is_not_averaged(runs, tmp_path, monkeypatch):
    one, two = (shutil.copytree(runs / name, tmp_path / "runs" / name) for name in ("a", "b"))
    scored = fusing.run_outcomes

    def replacing(predictor, *rest):
        """Replace the first run while the runs are scored, as an epoch of its training does."""
        if not (tmp_path / "old").exists():
            (one / "model").rename(tmp_path / "old")
            shutil.copytree(two / "model", one / "model")
        return scored(predictor, *rest)

    monkeypatch.setattr(fusing, "run_outcomes", replacing)
    with pytest.raises(CheckpointError, match=r"a: another command has changed its model; run this command again"):
        fuse(runs, one, two, "-o", tmp_path / "mean", "--limit", "2")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["old", "runs"]


def test_one_run_no_run_and_a_full_disk_are_one_line(runs, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"needs at least two runs, but got 1\.$"):
        fuse(runs, "a", "-o", tmp_path / "mean")
    with pytest.raises(CheckpointError, match=r"gone: there is no such run folder"):
        fuse(runs, "a", tmp_path / "gone", "-o", tmp_path / "mean")
    with pytest.raises(UsageError, match=r"a: contains files that mbert fuse did not write; choose another folder"):
        fuse(runs, "a", "b", "-o", runs / "a", "--force")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_sync", fail)
    with pytest.raises(ResourceError, match=r"mean: the disk is full; free some space and run the command again"):
        fuse(runs, "a", "b", "-o", tmp_path / "mean", "-q")
    assert not list(tmp_path.iterdir())
