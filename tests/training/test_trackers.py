"""Trackers of a run: what they receive, resumed runs, and trackers that fail."""

import json
import threading

import numpy as np
import pytest
import tiny
from crashes import contents
from records import record
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import options, train

from mbert_cli.errors import RecipeError, Stopped
from mbert_cli.machine.process_group import Processes
from mbert_cli.model.components import kinds, load_recipe
from mbert_cli.recipe.differences import result_spec
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.tracking.tensorboard import TensorBoard
from mbert_cli.training import checks, trackers
from mbert_cli.training.members import fit_members
from mbert_cli.training.step import OptimizerStep
from mbert_cli.training.trackers import Trackers, numbers

TRACK = "training.track=[tensorboard]"


def scalars(folder):
    """Return the steps and values of each tag, as TensorBoard shows them."""
    events = EventAccumulator(str(folder / "tracking" / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture(scope="module")
def recipe(tiny_checkpoint, tiny_files, tmp_path_factory):
    return tiny.write_recipe(tmp_path_factory.mktemp("tracked") / "recipe.yaml", tiny_checkpoint, tiny_files)


@pytest.fixture(scope="module")
def run(recipe):
    """A run of 9 + 3 steps with TensorBoard."""
    folder = recipe.parent / "run"
    folder.mkdir()
    train(recipe, folder, TRACK)
    return folder


def test_tensorboard_has_the_numbers_of_metrics_jsonl(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    values = scalars(run)
    for index, tag in [("epoch", "epoch"), ("overall", "overall"), ("tokens", "tokens")]:
        assert values[tag] == [(line["step"], np.float32(line[index])) for line in lines]
    for task, name in [("mood", "accuracy"), ("same", "accuracy"), ("near", "pearson")]:
        assert values[f"tasks/{task}/{name}"] == [
            (line["step"], np.float32(line["tasks"][task][name])) for line in lines
        ]
        assert values[f"train_loss/{task}"] == [(line["step"], np.float32(line["train_loss"][task])) for line in lines]
    assert [step for step, _ in values["seconds/train"]] == [9, 12]
    kept = max(lines, key=lambda line: line["overall"])
    assert values["kept/overall"] == [(12, np.float32(kept["overall"]))]
    assert values["kept/epoch"] == [(12, kept["epoch"])]


def test_losses_and_the_learning_rate_are_written_every_ten_steps_and_with_each_epoch(run):
    values = scalars(run)
    assert values["steps/learning_rate"] == [(step, np.float32(1e-3)) for step in (9, 10, 12)]
    # The point of an epoch is the mean over its rows, if no point is within it.
    assert values["steps/loss/mood"][0] == values["train_loss/mood"][0]
    # In a simultaneous epoch of 8 rows of each task per step, step 10 is the first of three.
    assert len(values["steps/loss/near"]) == 3


def test_the_recipe_is_a_text(run):
    events = EventAccumulator(str(run / "tracking" / "tensorboard"))
    events.Reload()
    (text,) = events.Tensors("recipe/text_summary")
    assert b"    curriculum:" in text.tensor_proto.string_val[0]


@pytest.fixture
def killed(recipe, tmp_path):
    """Return the folder of a run whose newest state, of step 9, is older than its last point, of step 10."""
    take = OptimizerStep.__call__

    def die(self, rows):
        if self.state.step == 11:
            raise KeyboardInterrupt
        return take(self, rows)

    (tmp_path / "run").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OptimizerStep, "__call__", die)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", TRACK, "training.state_every=null")
    assert scalars(tmp_path / "run")["steps/learning_rate"][-1][0] == 10
    return tmp_path / "run"


def test_a_killed_and_resumed_run_has_each_step_once(recipe, run, killed):
    settings = (TRACK, "training.state_every=null")
    train(recipe, killed, *settings, resume=True)
    whole, resumed = scalars(run), scalars(killed)
    assert resumed.keys() == whole.keys()
    for tag, points in whole.items():
        assert [step for step, _ in resumed[tag]] == [step for step, _ in points]
        # The times differ, and the mean losses of steps 11 and 12 after the resume include the repeated step 10.
        if not tag.startswith(("seconds/", "steps/loss")):
            assert resumed[tag] == points
    train(recipe, killed, *settings, resume=True)  # has nothing left to train
    assert scalars(killed) == resumed


def test_a_tracker_does_not_change_the_result_and_can_be_added_or_left_out(recipe, run, tmp_path):
    with_tracker, without = load_recipe(str(recipe), [TRACK]), load_recipe(str(recipe), [])
    assert with_tracker.training != without.training
    assert result_spec(with_tracker) == result_spec(without)


@pytest.fixture
def used(recipe, tmp_path):
    """Return a function that uses the trackers of a run without training."""

    def use(*settings, ended_by=None, **others):
        made = Trackers(load_recipe(str(recipe), [TRACK, *settings]), RunFolder(tmp_path / "run"), options(**others))
        with made:
            for step in range(1, 12):
                made.count_losses({"mood": 1.0}, {"mood": 8})
                made.count_step(step, 0.1, ends_round=step == 11)
            made.log_round(record(1, step=11))
            if ended_by:
                raise ended_by
            made.note_kept(record(1, step=11), 11)
        return tmp_path / "run"

    return use


@pytest.mark.parametrize("method", ["start", "log", "end"])
def test_a_tracker_that_fails_is_left_out_with_one_line(used, method, monkeypatch, capsys):
    calls = []

    def fail(*_):
        calls.append(method)
        raise ValueError("the server\nis gone.")

    monkeypatch.setattr(TensorBoard, method, fail)
    used(console=Console())
    assert capsys.readouterr().err == "tracker tensorboard failed, and is left out: ValueError: the server is gone.\n"
    assert calls == [method]


def test_a_run_whose_tracker_fails_has_the_same_model(recipe, run, tmp_path, monkeypatch):
    monkeypatch.setattr(TensorBoard, "log", None)
    (tmp_path / "run").mkdir()
    train(recipe, tmp_path / "run", TRACK)
    assert contents(tmp_path / "run" / "model") == contents(run / "model")


@pytest.mark.parametrize("method", ["start", "end"])
def test_a_tracker_that_does_not_answer_is_left_out(used, method, monkeypatch, capsys):
    answer = threading.Event()
    monkeypatch.setattr(TensorBoard, method, lambda *_: answer.wait())
    for name in ("_START_SECONDS", "_END_SECONDS"):
        monkeypatch.setattr(trackers, name, 0.2)
    used(console=Console())
    answer.set()
    assert capsys.readouterr().err == ("tracker tensorboard failed, and is left out: it did not answer within 0 s.\n")


@pytest.mark.parametrize(("error", "ending"), [(None, "finished"), (Stopped(15), "stopped"), (ValueError(), "failed")])
def test_a_tracker_learns_how_the_run_ended(used, error, ending, monkeypatch):
    endings = []
    monkeypatch.setattr(TensorBoard, "end", lambda self, *words: endings.append(words))
    if error is None:
        used()
    else:
        with pytest.raises(type(error)):
            used(ended_by=error)
    scores = {"kept/epoch": 1.0, "kept/overall": 0.5} if error is None else {}
    assert endings == [(ending, scores, 11)]


def test_only_the_first_of_several_processes_has_trackers(used):
    assert not (used(processes=Processes(1, 2)) / "tracking").exists()


def test_what_trackers_print_is_not_mixed_with_events(used, monkeypatch, capsys):
    start = TensorBoard.start

    def loud(*words):
        print("a greeting")
        return start(*words)

    monkeypatch.setattr(TensorBoard, "start", loud)
    used()
    assert capsys.readouterr().out == ""


def test_members_of_an_ensemble_and_the_ensemble_are_runs(recipe, tmp_path):
    (tmp_path / "both").mkdir()
    settings = [TRACK, "training.members=2", "training.epochs=1", "curriculum=simultaneous", "adapters=[]"]
    fit_members(load_recipe(str(recipe), settings), RunFolder(tmp_path / "both"), options())
    for folder in (tmp_path / "both", tmp_path / "both" / "members" / "1", tmp_path / "both" / "members" / "2"):
        assert scalars(folder)["kept/overall"]
    assert [step for step, _ in scalars(tmp_path / "both")["overall"]] == [3, 6]


def test_lists_and_single_classes_are_no_numbers():
    line = {"epoch": 2, "best": True, "phases": "all", "tasks": {"a": {"f1": 0.5, "confusion": [[1]], "of": {"x": 1}}}}
    assert numbers(line) == {"epoch": 2.0, "best": 1.0, "tasks/a/f1": 0.5}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "[tensorbord]",
            r"training.track\[0\] is 'tensorbord'; did you mean 'tensorboard'\? Known: mlflow, tensorboard",
        ),
        ("[wandb, wandb]", r"training.track must name each tracker once, but is \['wandb', 'wandb'\]"),
        ("3", "training.track must be a list of trackers, such as .*, but is 3"),
    ],
)
def test_a_wrong_list_of_trackers_is_reported(recipe, value, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(recipe), [f"training.track={value}"])


def test_a_single_tracker_needs_no_list(recipe):
    assert load_recipe(str(recipe), ["training.track=tensorboard"]).training.track == ["tensorboard"]


@pytest.mark.parametrize("kind", kinds("tracking"))
def test_a_package_that_is_not_installed_is_reported_before_training(recipe, kind, monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=rf"track\[0\] is '{kind}', but {kind} is not installed; pip install "):
        checks.check_recipe(load_recipe(str(recipe), [f"training.track=[{kind}]"]))
