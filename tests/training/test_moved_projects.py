"""A run resumes to the same bytes after its project was moved, and with another number of threads."""

import json
import shutil

import pytest
import tiny
import torch
from crashes import contents, dying_after
from tiny_runs import options, train

from mbert_cli.cli import app
from mbert_cli.errors import DataError, UsageError
from mbert_cli.machine.hardware import choose, computing_with
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.atomic import commit_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.fit import fit
from mbert_cli.training.members import fit_members
from mbert_cli.training.options import RunOptions

STEPS = "training.state_every=1"
QUICK = ("--device", "cpu", "--precision", "fp32", "-q")


@pytest.fixture
def project(tmp_path):
    """A folder with an encoder, data and a recipe that uses them."""
    folder = tmp_path / "old"
    folder.mkdir()
    tiny.write_checkpoint(folder / "encoder")
    tiny.write_files(folder)
    tiny.write_recipe(folder / "recipe.yaml", folder / "encoder", folder)
    return folder


def move(project):
    """Rename the project folder, and change its paths in the recipe, as relative paths change."""
    new = project.rename(project.with_name("new"))
    path = new / "recipe.yaml"
    path.write_text(path.read_text().replace(str(project), str(new)))
    return new


def without_paths(run, project):
    """Return all files of a run, without the project's path in texts and without the hashes of such texts."""
    found = {}
    for name, content in contents(run).items():
        if not name.endswith("manifest.json"):
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            found[name] = content.replace(str(project).encode(), b"PROJECT")
    return found


@pytest.mark.parametrize(("death", "settings"), [((0, 5), ()), ((1, 0), ("training.freeze_encoder=true",))])
def test_a_moved_project_resumes_to_the_same_bytes_without_drift(project, death, settings):
    (project / "runs" / "a").mkdir(parents=True)
    shutil.copytree(project, project.with_name("kept"))
    train(project / "recipe.yaml", project / "runs" / "a", STEPS, *settings)
    expected = without_paths(project / "runs" / "a", project)
    shutil.rmtree(project)
    shutil.move(project.with_name("kept"), project)
    with dying_after(*death):
        train(project / "recipe.yaml", project / "runs" / "a", STEPS, *settings)
    new = move(project)
    train(new / "recipe.yaml", new / "runs" / "a", STEPS, *settings, resume=True)
    found = without_paths(new / "runs" / "a", new)
    assert found.keys() == expected.keys()
    # A best model that was saved before the move has the old paths.
    assert {name: each.replace(str(project).encode(), b"PROJECT") for name, each in found.items()} == expected
    assert not any(line.drift for line in RunFolder(new / "runs" / "a").read_metrics())


def test_a_moved_file_with_other_contents_is_drift(project):
    (project / "run").mkdir()
    with dying_after(0, 2):
        train(project / "recipe.yaml", project / "run", STEPS)
    new = move(project)
    text = (new / "mood-train.tsv").read_text()
    (new / "mood-train.tsv").write_text(text.replace("low", "mid"))
    with pytest.raises(UsageError, match=r"tasks\.mood\.train was .*old/mood-train.* data\.train\.mood was"):
        train(new / "recipe.yaml", new / "run", STEPS, resume=True)
    (new / "mood-train.tsv").write_text(text)
    weights = new / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(UsageError, match=r"encoder\.checkpoint was .*encoder_sha256 was"):
        train(new / "recipe.yaml", new / "run", STEPS, resume=True)


def train_ensemble(project, *settings, run="run", resume=False):
    recipe = load_recipe(str(project / "recipe.yaml"), settings)
    (project / run).mkdir(exist_ok=True)
    fit_members(recipe, RunFolder(project / run), options(resume=resume))


@pytest.mark.parametrize("settings", [(), ("training.freeze_encoder=true",)])
def test_a_moved_ensemble_keeps_its_members_and_trains_the_others(project, settings):
    train_ensemble(project, "training.members=2", "training.epochs=1", *settings)
    new = move(project)
    metrics = [new / "run" / "members" / number / "metrics.jsonl" for number in "12"]
    before = [each.read_text() for each in metrics]  # with times, which another training run changes
    for members in (3, 3):
        train_ensemble(new, f"training.members={members}", "training.epochs=1", *settings, resume=True)
    assert [each.read_text() for each in metrics] == before
    assert [line.epoch for line in RunFolder(new / "run").read_metrics()] == [1, 2, 3]
    whole = new / "whole"
    train_ensemble(new, "training.members=3", "training.epochs=1", *settings, run="whole")
    weights = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("model/**/*.safetensors")}
    assert weights
    assert {path: (new / "run" / path).read_bytes() for path in weights} == weights


def test_a_moved_ensemble_resumes_its_first_member(project):
    settings = ("training.members=2", "training.epochs=1", STEPS)
    with dying_after(0, 2):
        train_ensemble(project, *settings)
    new = move(project)
    train_ensemble(new, *settings, resume=True)
    assert [line.drift for line in RunFolder(new / "run" / "members" / "1").read_metrics()] == [()]


@pytest.mark.parametrize("is_moved", [False, True])
def test_an_ensemble_whose_files_have_changed_is_not_resumed(project, is_moved):
    train_ensemble(project, "training.members=2", "training.epochs=1")
    folder = move(project) if is_moved else project
    file = folder / "mood-train.tsv"
    text = file.read_text()
    file.write_text(text.replace("low", "mid"))
    with pytest.raises(UsageError, match=r"run: cannot resume a changed run: .*data\.train\.mood was"):
        train_ensemble(folder, "training.members=3", "training.epochs=1", resume=True)
    file.write_text(text)
    weights = folder / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(UsageError, match=r"run: cannot resume a changed run: .*encoder_sha256 was"):
        train_ensemble(folder, "training.members=3", "training.epochs=1", resume=True)


def test_an_ensemble_without_hashes_compares_paths(project):
    train_ensemble(project, "training.members=2", "training.epochs=1")
    state = project / "run" / "state" / "epoch-0002"
    shutil.rmtree(state)
    commit_folder(state, lambda at: (at / "members.json").write_text('{"members": 2}'))
    train_ensemble(project, "training.members=2", "training.epochs=1", resume=True)
    new = move(project)
    with pytest.raises(UsageError, match=r"cannot resume a changed run: encoder\.checkpoint was"):
        train_ensemble(new, "training.members=2", "training.epochs=1", resume=True)


def test_evaluate_suggests_and_accepts_data_for_a_moved_dev_file(project, monkeypatch):
    run = project / "run"
    run.mkdir()
    train(project / "recipe.yaml", run, "training.epochs=1")
    dev = project / "mood-dev.tsv"
    words = ["evaluate", str(run), "-t", "mood", *QUICK]
    fit = [*words, "--calibrate"]
    with pytest.raises(
        UsageError, match=r"--calibrate: fitting uses the recipe's dev files only, and .* exists; remove --data"
    ):
        app([*fit, "--data", f"mood={dev}"], standalone_mode=False)
    moved = dev.rename(project / "moved.tsv")
    for each in (words, fit):
        with pytest.raises(
            DataError, match=r"mood-dev\.tsv: the dev file of task mood does not exist; use --data mood=FILE\."
        ):
            app(each, standalone_mode=False)
        app([*each, "--data", f"mood={moved}"], standalone_mode=False)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """With PyTorch's kernels, the bytes of this recipe depend on the number of threads: 32 features, five classes."""
    folder = tmp_path_factory.mktemp("threads")
    tiny.write_files(folder)
    tiny.write_checkpoint(folder / "encoder", hidden_size=32)
    head = {"kind": "classification", "labels": ["low", "mid", "high", "a", "b"]}
    task = {"train": "mood-train.tsv", "dev": "mood-dev.tsv", "text": "text", "label": "mood", "head": head}
    training = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "max_length": 16, "state_every": 1}
    recipe = {"encoder": {"checkpoint": "./encoder"}, "tasks": {"mood": task}, "training": training}
    (folder / "recipe.yaml").write_text(json.dumps({**recipe, "curriculum": {"kind": "simultaneous"}}))
    return folder / "recipe.yaml"


def train_with(threads, recipe, folder, kernels, precision, **options):
    folder.mkdir(exist_ok=True)
    with computing_with(threads):
        fit(
            load_recipe(str(recipe)),
            RunFolder(folder),
            RunOptions(choose("cpu", precision, kernels), Console(), **options),
        )


@pytest.mark.parametrize(("kernels", "precision"), [("torch", "fp32"), ("fused", "fp32")])
def test_a_resumed_run_uses_the_number_of_threads_that_it_was_started_with(
    counted, tmp_path, kernels, precision, capsys
):
    one, two, resumed = (tmp_path / name for name in ("one", "two", "resumed"))
    train_with(1, counted, one, kernels, precision)
    train_with(2, counted, two, kernels, precision)
    # If this fails, the number of threads no longer changes the bytes, and the fingerprint does not need it. The fused
    # kernels add in one order with any number of threads; PyTorch's products between them may not, for larger sizes.
    if kernels == "torch":
        assert contents(one / "model" / "tasks") != contents(two / "model" / "tasks")
    with dying_after(0, 2):
        train_with(2, counted, resumed, kernels, precision)
    capsys.readouterr()
    train_with(1, counted, resumed, kernels, precision, resume=True)
    message = " ".join(capsys.readouterr().err.split())
    assert "using 2 threads, as at the start of the run, instead of 1" in message
    assert contents(two) == contents(resumed)


def test_allow_drift_uses_the_current_number_of_threads_and_records_it(counted, tmp_path):
    with dying_after(0, 2):
        train_with(2, counted, tmp_path / "a", "fused", "fp32")
    train_with(1, counted, tmp_path / "a", "fused", "fp32", resume=True, allow_drift=True)
    (line, *_) = RunFolder(tmp_path / "a").read_metrics()
    assert list(line.drift) == ["epoch 1, step 2: hardware.threads was 2 and is now 1"]


def test_the_number_of_threads_is_restored_after_the_block():
    before = torch.get_num_threads()
    with computing_with(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
