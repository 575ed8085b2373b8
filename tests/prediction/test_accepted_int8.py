"""`--precision auto` of `mbert predict` is int8 for the model for which `mbert evaluate --accept-int8` accepted it."""

import json
import re
import shutil

import pytest
import tiny
from tiny_runs import options
from word_salad import sentences

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.errors import UsageError
from mbert_cli.machine import hardware
from mbert_cli.model.components import load_recipe
from mbert_cli.model.decisions import write_decisions
from mbert_cli.prediction import accepted_int8
from mbert_cli.prediction.divided_files import Part
from mbert_cli.prediction.embed_file import EmbedOptions
from mbert_cli.prediction.part_worker import ModelOptions, PartWorker
from mbert_cli.prediction.predict_files import PredictOptions
from mbert_cli.storage import int8_scores
from mbert_cli.storage.atomic import commit_folder, holds_only_what_was_committed
from mbert_cli.storage.int8_scores import Int8Scores
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.fit import fit

ACCEPT = ("--precision", "int8", "--accept-int8", "--device", "cpu")
USED = re.compile(r"precision: int8, as accepted; the largest loss on dev is \.\d{4} \(\w+\)\.")


@pytest.fixture(scope="module")
def trained(even_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny.write_recipe(folder / "recipe.yaml", even_checkpoint, tiny_files)
    (folder / "run").mkdir()
    fit(load_recipe(str(recipe), ["training.epochs=1"]), RunFolder(folder / "run"), options())
    return folder / "run"


@pytest.fixture(scope="module")
def accepted(trained, tmp_path_factory):
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("accepted") / "run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(hardware, "why_not_int8", lambda device, kernels="auto": None)
        monkeypatch.setattr(int8_scores, "LARGEST_LOSS", 1.0)
        mbert("evaluate", folder, *ACCEPT)
    return folder


@pytest.fixture
def processor(monkeypatch):
    """Let the processor have the instructions for int8, or not."""

    def set_problem(problem):
        for module in (hardware, accepted_int8):
            monkeypatch.setattr(module, "why_not_int8", lambda device, kernels="auto": problem)

    set_problem(None)
    return set_problem


@pytest.fixture
def run(accepted, processor, monkeypatch, tmp_path):
    """A run whose comparison was saved and accepted. The tiny model may lose any score."""
    monkeypatch.setattr(int8_scores, "LARGEST_LOSS", 1.0)
    return shutil.copytree(accepted, tmp_path / "run")


def mbert(*words):
    app([*map(str, words)], standalone_mode=False)


@pytest.fixture
def predict(tmp_path, capsys):
    """Predict some rows; return the messages and the output."""
    (tmp_path / "new.tsv").write_text("text\n" + "\n".join(sentences(5, seed=5)) + "\n", encoding="utf-8")

    def of(run, *words):
        capsys.readouterr()
        mbert("predict", run, tmp_path / "new.tsv", "-t", "mood", "--device", "cpu", "-o", tmp_path / "out.tsv", *words)
        text = (tmp_path / "out.tsv").read_text(encoding="utf-8")
        (tmp_path / "out.tsv").unlink()
        return capsys.readouterr().err, text

    return of


def edit_scores(run, **changes):
    path = run / "model" / "int8-scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def test_without_acceptance_a_comparison_changes_no_prediction(trained, processor, predict, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    before = predict(run)[1]
    mbert("evaluate", run, "--precision", "int8", "--device", "cpu")
    assert not Int8Scores.read(run).accepted
    messages, after = predict(run)
    assert after == before
    assert "int8" not in messages
    messages, after = predict(run, "-v")
    assert f"precision: {hardware.choose('cpu').precision}\n" in messages


def test_an_accepted_model_predicts_in_int8_and_says_so(run, predict):
    messages, in_int8 = predict(run)
    assert USED.search(messages)
    assert in_int8 == predict(run, "--precision", "int8")[1]
    other = predict(run, "--precision", "fp32")
    assert other[1] != in_int8
    assert "int8" not in other[0]
    assert holds_only_what_was_committed(run / "model")


def test_only_mbert_predict_uses_what_was_accepted(run):
    assert not Predictor(run, device="cpu").hardware.int8
    embedding = PartWorker(ModelOptions(str(run), {"device": "cpu"}), EmbedOptions("mood"))
    assert not embedding._loaded(Console(quiet=True)).hardware.int8


def test_processes_that_share_the_rows_use_int8_and_note_it_once(run, predict, tmp_path):
    predict(run)  # writes the input
    worker = PartWorker(ModelOptions(str(run), {"device": "cpu"}), PredictOptions(["mood"]))
    parts = [Part(str(tmp_path / "new.tsv"), str(tmp_path / f"part-{number}.tsv"), number, 2) for number in (1, 2)]
    one, two = map(worker.result_of, parts)
    assert USED.fullmatch(one.notes[0])
    assert two.notes == []


def test_the_loss_of_every_task_must_be_small(run, predict, monkeypatch):
    tasks = Int8Scores.read(run).content["tasks"]
    monkeypatch.setattr(int8_scores, "LARGEST_LOSS", 0.003)
    mild = {
        name: {**own, "difference": change}
        for (name, own), change in zip(tasks.items(), (-0.003, 0.1, 0.0), strict=True)
    }
    edit_scores(run, tasks=mild)
    assert "the largest loss on dev is .0030 (mood)." in predict(run)[0]
    for worst, problem in (
        (-0.0031, "task same loses .0031 of accuracy on dev, and at most .0030 is allowed"),
        (float("nan"), "accuracy of task same on dev is undefined in fp32 or in int8"),
    ):
        edit_scores(run, tasks={**mild, "same": {**mild["same"], "difference": worst}})
        messages, text = predict(run)
        assert f"int8 was accepted, but is not used: {problem}." in messages
        assert text == predict(run, "--precision", hardware.choose("cpu").precision)[1]
        with pytest.raises(UsageError, match=re.escape(f"int8 is not accepted: {problem}.")):
            int8_scores.accept(run)


def test_a_comparison_again_keeps_the_acceptance_of_the_same_model_only(run):
    mbert("evaluate", run, "--precision", "int8", "--device", "cpu")
    assert Int8Scores.read(run).accepted
    edit_scores(run, model="0" * 64)
    mbert("evaluate", run, "--precision", "int8", "--device", "cpu")
    assert not Int8Scores.read(run).accepted


def test_another_model_in_the_folder_is_not_accepted(run, predict):
    write_decisions(run / "model", Predictor(run).saved.model)  # the same happens if weights or tasks change
    messages, text = predict(run)
    assert "int8 was accepted, but is not used: the model has changed since then." in messages
    assert text == predict(run, "--precision", hardware.choose("cpu").precision)[1]


def test_a_model_that_is_replaced_while_it_is_loaded_is_not_accepted(run, predict, monkeypatch):
    content = Int8Scores.read(run).content
    monkeypatch.setattr(accepted_int8, "sha256_of", lambda path: content["model"])
    write_decisions(run / "model", Predictor(run).saved.model)
    assert "is not used: the model has changed since then." in predict(run)[0]


def test_renamed_removed_and_added_tasks_need_a_new_comparison(run, tmp_path):
    mbert("tasks", "remove", run, "near", "-o", tmp_path / "fewer")
    mbert("tasks", "export", run, "near", "-o", tmp_path / "near")
    mbert("tasks", "import", tmp_path / "fewer", tmp_path / "near", "-o", tmp_path / "again")
    for changed in ("fewer", "again"):
        assert not Int8Scores.read(tmp_path / changed).accepted


def test_hardware_and_options_without_int8_are_noted(run, predict, processor):
    assert "is not used: the fused kernels are not used." in predict(run, "--kernels", "torch")[0]
    assert "is not used: with --fold, the weights are not those that were compared." in predict(run, "--fold")[0]
    processor("this processor has no instructions")
    messages, text = predict(run)
    assert "int8 was accepted, but is not used: this processor has no instructions." in messages
    assert text == predict(run, "--precision", hardware.choose("cpu").precision)[1]


def test_an_ensemble_is_accepted_as_a_whole(run, predict):
    def write(new):
        shutil.copytree(run / "model" / "encoder", new / "encoder", ignore=shutil.ignore_patterns("*.safetensors"))
        config = json.loads((run / "model" / "config.json").read_text()) | {"members": 2}
        (new / "config.json").write_text(json.dumps(config))
        for number in "12":
            for part in ("encoder", "tasks"):
                shutil.copytree(run / "model" / part, new / "members" / number / part)

    ensemble = run.parent / "ensemble"
    commit_folder(ensemble, write)
    shutil.copy(run / "model" / "int8-scores.json", ensemble)
    assert "is not used: the model has changed since then." in predict(ensemble)[0]
    mbert("evaluate", ensemble, *ACCEPT)
    assert USED.search(predict(ensemble)[0])


def test_a_folder_that_cannot_be_written_to_is_not_accepted(trained, processor, monkeypatch, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")

    def refuse(path, content):
        raise UsageError(f"{path}: cannot be written to.")

    monkeypatch.setattr(int8_scores, "replace_file", refuse)
    with pytest.raises(UsageError, match="int8 is not accepted: its scores in int8 are not saved"):
        mbert("evaluate", run, *ACCEPT)
    printed = capsys.readouterr()
    assert "int8 compared with fp32" in printed.out
    assert "the comparison of int8 with fp32 is not saved" in printed.err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"accepted": true}', '{"accepted": true, "tasks": {"mood": 1}}'])
def test_a_damaged_file_counts_as_none(run, predict, text):
    (run / "model" / "int8-scores.json").write_text(text, encoding="utf-8")
    assert "int8" not in predict(run)[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--precision", "fp32"], "--accept-int8 needs --precision int8, but --precision is 'fp32'"),
        (["--precision", "int8", "--split", "test"], "remove --split"),
        (["--precision", "int8", "--data", "mood=x.tsv"], "remove --data"),
        (["--precision", "int8", "-t", "mood"], "remove --task"),
        (["--precision", "int8", "--limit", "5"], "remove --limit"),
        (["--precision", "int8", "--reset"], "--accept-int8 and --reset cannot be used together"),
        (["--precision", "int8", "--calibrate"], "--accept-int8 and --calibrate cannot be used together"),
    ],
)
def test_only_a_whole_evaluation_in_int8_can_be_accepted(tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        mbert("evaluate", tmp_path, "--accept-int8", *words)
