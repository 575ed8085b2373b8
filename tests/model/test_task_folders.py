"""Tasks of saved models: read one at a time, exported, imported, removed and renamed."""

import errno
import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest
import tiny

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.errors import CheckpointError, MbertError, ResourceError, RunInUseError
from mbert_cli.model.decisions import decisions_text
from mbert_cli.model.saved_parts import ModelFiles
from mbert_cli.model.task_folder import read_task_folder
from mbert_cli.storage.atomic import DECISIONS, amend_folder, check_folder, commit_folder, hashes_in, sha256_of
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked

FAST = ("-q", "training.epochs=1", "training.keep=1")


def mbert(*words):
    app([*map(str, words)], standalone_mode=False)


@pytest.fixture(scope="module")
def runs(tiny_checkpoint, tiny_files, tmp_path_factory):
    """Runs of the tiny recipe.

    three: all tasks, with a frozen encoder. one: the task `mood` with other adapters, on the same encoder, with a
    fitted temperature. trained: with a trained encoder. both: an ensemble with a frozen encoder.
    """
    folder = tmp_path_factory.mktemp("tasks")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    frozen, alone = "training.freeze_encoder=true", ("tasks.same=null", "tasks.near=null")
    mbert("train", recipe, "-o", folder / "three", *FAST, frozen)
    mbert("train", recipe, "-o", folder / "one", *FAST, frozen, *alone, "adapters=[{kind: top}]")
    amend_folder(folder / "one" / "model", DECISIONS, decisions_text({"mood": {"temperature": 2.0}}))
    mbert("train", recipe, "-o", folder / "trained", *FAST, "curriculum=simultaneous")
    mbert("train", recipe, "-o", folder / "both", *FAST, frozen, *alone, "training.members=2")
    mbert("tasks", "export", folder / "one", "mood", "-o", folder / "mood", "-q")
    mbert("tasks", "export", folder / "both", "mood", "-o", folder / "mood-of-both", "-q")
    return folder


@pytest.fixture
def here(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predictions(model, task, rows, precision="fp32", name="pred.tsv"):
    mbert("predict", model, rows, "-t", task, "-o", name, "-F", "-q", "--precision", precision)
    return Path(name).read_bytes()


def tensors(model):
    return {name: sha256 for name, sha256 in hashes_in(model).items() if name.endswith(".safetensors")}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_importing_a_task_changes_neither_its_predictions_nor_the_files_of_other_tasks(
    runs, tiny_files, here, precision
):
    rows = tiny_files / "mood-dev.tsv"
    mbert("tasks", "rename", runs / "three", "mood", "feeling", "-o", "renamed", "-q")
    mbert("tasks", "import", "renamed", runs / "mood", "-o", "new", "-q")
    for old, task, new in ((runs / "one", "mood", "mood"), (runs / "three", "mood", "feeling")):
        assert predictions(old, task, rows, precision) == predictions("new", new, rows, precision)
    before, after = tensors(runs / "three" / "model"), tensors(here / "new")
    before["tasks/feeling.safetensors"] = before.pop("tasks/mood.safetensors")
    assert after == {**before, "tasks/mood.safetensors": sha256_of(runs / "mood" / "task.safetensors")}
    check_folder(here / "new")


def test_an_imported_task_keeps_its_adapters_temperature_scores_and_card(runs, here, capsys):
    mbert("tasks", "rename", runs / "three", "mood", "feeling", "-o", "renamed", "-q")
    mbert("tasks", "import", "renamed", runs / "mood", "-o", "new", "-q")
    old, new = ModelFiles.of(runs / "one"), ModelFiles.of(here / "new")
    assert new.decisions["mood"] == old.decisions["mood"]
    assert new.decisions["mood"]["temperature"] == 2
    assert [each.kind for each in new.section.adapters_of("mood")] == ["top"]
    assert [each.kind for each in new.section.adapters_of("feeling")] == ["low_rank", "top"]
    assert new.config["scores"]["tasks"]["mood"] == old.config["scores"]["tasks"]["mood"]
    card = (here / "new" / "README.md").read_text()
    assert "BERT encoder for 4 tasks" in card
    assert "| mood | text | low, mid, high | accuracy " in card
    assert "mood:\n\n- adapters: top; pooling: mean\n" in card
    assert new.encoder_hashes[0] in (runs / "mood" / "README.md").read_text()
    mbert("tasks", "ls", "new", "--json")
    listed = {each["task"]: each for each in map(json.loads, capsys.readouterr().out.splitlines())}
    assert [name for name, each in listed.items() if each["trained_separately"]] == ["mood"]
    model = Predictor(here / "new").saved.model
    assert listed["mood"]["parameters"] == sum(each.numel() for each in model.task("mood").parameters())
    mbert("tasks", "ls", "new")
    assert "separately" in capsys.readouterr().out


def test_the_encoder_of_a_new_model_is_a_hard_link(runs, here):
    mbert("tasks", "remove", runs / "trained", "near", "-o", "fewer", "-q")
    part = "encoder/model.safetensors"
    assert (here / "fewer" / part).samefile(runs / "trained" / "model" / part)
    assert not (here / "fewer" / "tasks" / "near.safetensors").exists()


def test_without_an_output_the_model_of_the_run_is_replaced_but_not_its_history(runs, tiny_files, here):
    run = shutil.copytree(runs / "one", here / "run")
    rows, history = tiny_files / "mood-dev.tsv", (run / "metrics.jsonl").read_bytes()
    expected = predictions(run, "mood", rows)
    mbert("tasks", "rename", run, "mood", "feeling", "-q")
    assert predictions(run, "feeling", rows) == expected
    assert (run / "metrics.jsonl").read_bytes() == history
    # A crash can leave the folder with another name, under which the next command finds it.
    (run / "model").rename(run / ".model.mbert-old")
    mbert("tasks", "rename", run, "feeling", "mood", "-q")
    assert predictions(run, "mood", rows) == expected
    assert not (run / ".model.mbert-old").exists()


def test_a_model_in_a_folder_called_old_is_not_taken_for_the_remains_of_a_crash(runs, here):
    for name in ("copy", "copy.old"):
        shutil.copytree(runs / "three" / "model", here / name)
    before = hashes_in(here / "copy")
    mbert("tasks", "remove", here / "copy.old", "near", "-q")
    assert hashes_in(here / "copy") == before
    assert ModelFiles.of(here / "copy.old").task_names == ["mood", "same"]


WRITERS = {
    "tasks export": ("tasks", "export", "{one}", "mood", "-o", "copy"),
    "tasks import": ("tasks", "import", "{three}", "{renamed}", "-o", "copy"),
    "tasks remove": ("tasks", "remove", "{three}", "near", "-o", "copy"),
    "tasks rename": ("tasks", "rename", "copy", "mood", "feeling"),
    "add-task": ("add-task", "{one}", "{recipe}", "-t", "near", "-o", "copy", "training.epochs=1"),
    "fuse": ("fuse", "{one}", "{model}", "-o", "copy", "--limit", "2"),
    "export": ("export", "{one}", "--format", "transformers", "--no-head", "-o", "copy"),
    "compare": ("compare", "{one}", "{two}", "-o", "copy"),
}


# The other commands write their folders as `tasks export` does.
@pytest.mark.parametrize("command", ["tasks export", "tasks rename", "add-task"])
def test_a_command_that_writes_a_folder_touches_nothing_beside_it(command, runs, here):
    """Earlier versions had temporary folders NAME.new and NAME.old, and removed a user's folders of these names."""
    for name in ("copy.new", "copy.old", "model.new", "model.old"):
        (here / name).mkdir()
        (here / name / "thesis.txt").write_text("precious")
    places = {"recipe": runs / "recipe.yaml", "one": runs / "one"}
    if command == "tasks rename":
        shutil.copytree(runs / "one" / "model", here / "copy")
    before = {path.name for path in here.iterdir()}
    for force in ([], ["-F"]):
        words = [word.format(**places) for word in WRITERS[command]]
        if "-o" in words or not force:
            mbert(*words, *force, "-q")
    assert {path.name for path in here.iterdir()} == {*before, "copy"}
    assert len(list(here.glob("*/thesis.txt"))) == 4


def test_no_command_writes_into_a_run_that_another_process_uses(runs, here):
    other = RunFolder(shutil.copytree(runs / "one", here / "other"))
    shutil.rmtree(other.model)  # training has saved no model yet
    places = {"recipe": runs / "recipe.yaml", "one": runs / "one", "two": runs / "three", "three": here / "fewer"}
    places |= {"renamed": runs / "mood", "model": runs / "one" / "model"}
    mbert("tasks", "remove", runs / "three", "mood", "-o", here / "fewer", "-q")
    with locked(other, resume=True):
        for command, words in WRITERS.items():
            if "-o" in words:
                with pytest.raises(RunInUseError, match=r"other/model: .*other is in use by another mbert; wait"):
                    mbert(*(word.format(**places).replace("copy", "other/model") for word in words), "-q")
                assert not other.model.exists(), command


def test_a_task_of_an_ensemble_contains_the_parts_of_all_members(runs, tiny_files, here):
    mbert("tasks", "rename", runs / "both", "mood", "feeling", "-o", "renamed", "-q")
    mbert("tasks", "import", "renamed", runs / "mood-of-both", "-o", "new", "-q")
    mbert("tasks", "remove", "new", "feeling", "-q")
    rows = tiny_files / "mood-dev.tsv"
    assert predictions("new", "mood", rows) == predictions(runs / "both", "mood", rows)


def test_a_task_of_an_ensemble_with_one_member_can_be_read(runs, here):
    """A run that is stopped after its first member leaves such an ensemble."""

    def write(folder):
        ignored = shutil.ignore_patterns("manifest.json", "2")
        shutil.copytree(runs / "both" / "model", folder, dirs_exist_ok=True, ignore=ignored)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "members": 1}))

    commit_folder(here / "model", write)
    mbert("tasks", "export", here / "model", "mood", "-o", here / "task", "-q")
    (file,) = read_task_folder(str(here / "task")).task.files
    assert file.read_bytes() == (here / "model" / "members" / "1" / "tasks" / "mood.safetensors").read_bytes()


def test_a_predictor_reads_only_the_tasks_that_it_uses(runs, here):
    run = shutil.copytree(runs / "three", here / "run")
    text = {"text": ["cat dog"]}
    expected = Predictor(run)(text, task="mood")
    damaged = run / "model" / "tasks" / "near.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    predictor = Predictor(run)
    assert predictor.tasks == ("mood", "same", "near")
    assert predictor(text, task="mood") == expected
    with pytest.raises(CheckpointError, match=r"near.safetensors: was altered"):
        predictor({"one": ["cat"], "two": ["dog"]}, task="near")
    with pytest.raises(CheckpointError, match=r"near.safetensors: was altered"):
        mbert("tasks", "remove", run, "mood", "-q")


def test_a_predictor_rejects_a_task_of_a_model_that_replaced_its_own(runs, here):
    run = shutil.copytree(runs / "three", here / "run")
    predictor = Predictor(run)
    shutil.rmtree(run / "model")
    shutil.copytree(runs / "trained" / "model", run / "model")
    message = r"run/model: was moved, removed or replaced after it was opened, and task mood was not read yet; open the"
    with pytest.raises(CheckpointError, match=message):
        predictor({"text": ["cat dog"]}, task="mood")
    predictor = Predictor(run)
    (run / "model").rename(here / "moved")
    with pytest.raises(CheckpointError, match=message):
        predictor({"text": ["cat dog"]}, task="mood")


def test_a_full_disk_leaves_the_old_model(runs, here, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = shutil.copytree(runs / "one", here / "run")
    before = hashes_in(run / "model")
    monkeypatch.setattr(shutil, "copyfile", full)
    for words in (("rename", run, "mood", "feeling"), ("export", run, "mood", "-o", here / "task")):
        with pytest.raises(ResourceError, match="the disk is full"):
            mbert("tasks", *words, "-q")
    assert hashes_in(run / "model") == before
    check_folder(run / "model")
    assert [path.name for path in here.iterdir()] == ["run"]
    assert not list(run.glob(".model.*"))


def test_a_task_folder_is_uploaded_without_paths_and_read_from_the_hub(runs, here, monkeypatch):
    uploaded = here / "uploaded"

    class Api:
        endpoint = "https://hub"

        def create_repo(self, name, **_):
            assert name == "me/mood"

        def upload_folder(self, repo_id, folder_path, **_):
            shutil.copytree(folder_path, uploaded)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(uploaded))
    mbert("push", runs / "mood", "me/mood", "-q")
    assert str(runs.parent) not in "".join(path.read_text() for path in uploaded.glob("*.json"))
    mbert("tasks", "rename", runs / "three", "mood", "feeling", "-o", "renamed", "-q")
    mbert("tasks", "import", "renamed", "hub:me/mood", "-o", "new", "-q")
    assert ModelFiles.of(here / "new").task_names == ["feeling", "same", "near", "mood"]


MISTAKES = {
    "another encoder": (
        "tasks import {trained} {mood} -o new",
        r"was trained on an encoder with sha256 [0-9a-f]{64}, but the model's encoder has [0-9a-f]{64}; import it into",
    ),
    "a task of that name": (
        "tasks import {three} {mood} -o new",
        r"already has a task 'mood'; rename one of them with mbert tasks rename, and export it again\.",
    ),
    "the same folder twice": (
        "tasks import {renamed} {mood} {mood} -o new",
        r"mood already has a task 'mood'; rename one of them",
    ),
    "a task of an ensemble into one model": (
        "tasks import {renamed} {mood-of-both} -o new",
        r"is a task of an ensemble of 2, but .*renamed is one model; import it into a model with the same encoders\.",
    ),
    "another number of tokens": ("tasks import {renamed} {longer} -o new", r"training.max_length 7, but the model has"),
    "another pooling": ("tasks import {renamed} {cls} -o new", r"with pooling cls, but the model has mean; train the"),
    "another tokenizer": ("tasks import {renamed} {words} -o new", r"with a tokenizer with sha256 x, but that of the"),
    "a newer format": (
        "tasks import {renamed} {newer} -o new",
        r"has version 9, but this mbert \(.*\) reads version 1",
    ),
    "a run instead of a task folder": ("tasks import {renamed} {one} -o new", r"is not a task folder; write one with"),
    "a model instead of a task folder": ("tasks import {renamed} {one}/model -o new", r"is not a task folder; write"),
    "no task folder": ("tasks import {renamed} nowhere -o new", r"nowhere: there is no such folder; mbert tasks expor"),
    "a damaged task folder": ("tasks import {renamed} {damaged} -o new", r"task.safetensors: was altered: its sha256"),
    "half a name on the Hub": ("tasks import {renamed} hub:mood -o new", r"hub:mood: must have the form hub:OWNER/NAM"),
    "a misspelt task": ("tasks export {three} moood -o new", r"three: has no task 'moood'; did you mean 'mood'\?"),
    "a misspelt task to remove": ("tasks remove {three} nea -o new", r"three: has no task 'nea'; did you mean 'near'"),
    "the only task": ("tasks remove {one} mood -o new", r"one: 'mood' is its only task; add another task first"),
    "a name that is taken": ("tasks rename {three} mood near -o new", r"three: already has a task 'near'; choose anot"),
    "a name with a slash": ("tasks rename {three} mood a/b -o new", r"'a/b': must be a name of at most 64 letters"),
    "a task folder instead of a run": ("tasks ls {mood}", r"mood: is the folder of one task; add it to a model with"),
    "prediction with a task folder": ("predict {mood} x.tsv", r"mood: is the folder of one task; add it to a model wi"),
    "no run": ("tasks ls nowhere", r"nowhere: there is no such run folder"),
    "an output that exists": (
        "tasks export {three} near -o {mood}",
        r"mood: exists; replace it with --force, or choose",
    ),
    "another folder as output": ("tasks export {three} near -o {runs} -F", r"contains files that mbert tasks export d"),
    "the run as output": ("tasks remove {three} near -o {three} -F", r"contains files that mbert tasks remove did not"),
    "the model as output": ("tasks remove {three} near -o {three}/model -F", r"is the model itself; choose another"),
    "an ONNX export as output": (
        "tasks remove {three} near -o {onnx} -F",
        r"contains files that mbert tasks remove di",
    ),
    "a PEFT adapter as output": (
        "tasks export {three} near -o {peft} -F",
        r"contains files that mbert tasks export di",
    ),
    "the working folder as output": ("tasks export {three} near -o .", r"\.: is the working folder, which would be"),
    "tasks for an ensemble": (
        "add-task {both} {one}/recipe.yaml -o new",
        r"both: is an ensemble, but mbert add-task needs a single model; add .* a member, such as .*both/members/1\.",
    ),
    "an encoder for a task folder": (
        "push {mood} me/mood --encoder x",
        r"is a task folder, which contains no encoder;",
    ),
}


def write_changed(task, config, folder):
    shutil.copy(task / "task.safetensors", folder)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def folders(runs, tmp_path_factory):
    """The folders that the mistakes name."""
    made = tmp_path_factory.mktemp("mistakes")
    named = {path.name: path for path in runs.iterdir()} | {"runs": runs}
    mbert("tasks", "rename", runs / "three", "mood", "feeling", "-o", made / "renamed", "-q")
    changes = {
        "longer": {"max_length": 7},
        "cls": {"pooling": {"kind": "cls"}},
        "words": {"tokenizer_sha256": "x"},
        "newer": {"version": 9},
    }
    for name, change in changes.items():
        config = {**json.loads((runs / "mood" / "config.json").read_text()), **change}
        write = partial(write_changed, runs / "mood", config)
        commit_folder(made / name, write)
    commit_folder(made / "onnx", lambda at: (at / "config.json").write_text('{"format": "mbert-onnx", "tasks": {}}'))
    commit_folder(made / "peft", lambda at: (at / "adapter_config.json").write_text("{}"))
    shutil.copytree(runs / "mood", made / "damaged")
    (made / "damaged" / "task.safetensors").write_bytes(b"")
    return named | {path.name: path for path in made.iterdir()}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_prints_one_line_with_the_remedy_and_writes_nothing(name, runs, folders, here):
    command, message = MISTAKES[name]
    before = sorted(runs.rglob("*"))
    with pytest.raises(MbertError, match=message) as error:
        mbert(*(word.format(**folders) for word in command.split()))
    assert len(error.value.problems) == 1
    assert not any(here.iterdir())
    assert sorted(runs.rglob("*")) == before


def test_the_working_folder_is_not_replaced(runs, here, monkeypatch):
    shutil.copytree(runs / "three" / "model", here / "copy")
    monkeypatch.chdir(here / "copy")
    with pytest.raises(MbertError, match=r"^\.: is the working folder, which would be replaced; go to another folder"):
        mbert("tasks", "remove", ".", "near")
