"""A run that was stopped, killed or damaged resumes to the bytes of an uninterrupted run."""

import json
import os
import signal
import time

import pytest
from commands import start
from components import every
from crashes import contents, dying_after
from tiny_runs import QUIET, train

from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.errors import CheckpointError, ResourceError, Stopped, UsageError
from mbert_cli.machine import signals
from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import kinds, load_recipe
from mbert_cli.storage import commit_epoch, run_lock
from mbert_cli.storage.atomic import commit_folder, finished, left_by_a_crash, remove_folder
from mbert_cli.storage.model_folder import model_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.training import loop as training_run
from mbert_cli.training import saver
from mbert_cli.training.fit import fit
from mbert_cli.training.options import RunOptions
from mbert_cli.training.step import OptimizerStep

EVERY_STEP = "training.state_every=1"


@pytest.fixture(autouse=True)
def made_folders(tmp_path):
    """The command creates the run folder when it takes the lock. These tests take no lock."""
    for name in "abc":
        (tmp_path / name).mkdir()


def whole_and_resumed(recipe, tmp_path, deaths, *settings, **options):
    """Train once without and once with interruptions; the files of both must be the same."""
    train(recipe, tmp_path / "a", *settings, **options)
    resume = False
    for death in deaths:
        with dying_after(*death):
            train(recipe, tmp_path / "b", *settings, resume=resume, **options)
        resume = True
    train(recipe, tmp_path / "b", *settings, resume=True, **options)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


# The tiny recipe has sequential epochs of 3 + 4 + 2 steps and simultaneous ones of 3.
@pytest.mark.parametrize("death", [(0, 1), (0, 9), (1, 0), (1, 2), (2, 0)])
def test_a_hybrid_run_killed_at_any_step_resumes_to_the_same_bytes(tiny_recipe, tmp_path, death):
    whole_and_resumed(tiny_recipe, tmp_path, [death], EVERY_STEP)


def test_a_run_killed_five_times_in_an_epoch_resumes_to_the_same_bytes(tiny_recipe, tmp_path):
    whole_and_resumed(tiny_recipe, tmp_path, [(0, step) for step in (1, 2, 4, 7, 9)], EVERY_STEP)


@pytest.mark.parametrize(
    ("curriculum", "precision"), [*((each, "fp32") for each in kinds("curricula")), ("hybrid", "bf16")]
)
def test_every_curriculum_resumes_within_an_epoch(tiny_recipe, tmp_path, curriculum, precision):
    settings = (EVERY_STEP, f"curriculum={curriculum}", "training.schedule=linear")
    whole_and_resumed(tiny_recipe, tmp_path, [(0, 2), (1, 2)], *settings, precision=precision)


@pytest.mark.parametrize("balancing", kinds("loss_balancing"))
def test_every_balancing_resumes_within_an_epoch(tiny_recipe, tmp_path, balancing):
    settings = (EVERY_STEP, f"loss_balancing={balancing}", "curriculum=simultaneous", "training.epochs=3")
    whole_and_resumed(tiny_recipe, tmp_path, [(0, 1), (2, 2)], *settings)


@every("adapters")
def test_every_adapter_resumes_within_either_phase_of_hybrid(tiny_recipe, tmp_path, kind, options):
    adapter = json.dumps([{"kind": kind, **options}])
    whole_and_resumed(tiny_recipe, tmp_path, [(0, 5), (1, 1)], EVERY_STEP, f"adapters={adapter}")


def test_a_run_on_cached_features_resumes_within_an_epoch(tiny_recipe, tmp_path):
    settings = ("adapters=[top]", "training.freeze_encoder=true", "training.cache_features=true")
    whole_and_resumed(tiny_recipe, tmp_path, [(0, 5), (1, 1)], EVERY_STEP, *settings)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_run_that_saves_only_at_the_end_of_epochs_resumes_from_there(tiny_recipe, tmp_path, schedule):
    settings = ("training.epochs=4", f"training.schedule={schedule}", "training.state_every=null")
    whole_and_resumed(tiny_recipe, tmp_path, [(2, 0)], *settings)


def test_the_recipe_sets_how_often_states_are_saved_and_how_many_are_kept(tiny_recipe, tmp_path, monkeypatch):
    train(tiny_recipe, tmp_path / "a", "training.state_every=4", "training.keep=3", "training.epochs=1")
    names = ["epoch-0000-step-00000004", "epoch-0000-step-00000008", "epoch-0001"]
    assert sorted(each.name for each in (tmp_path / "a" / "state").iterdir()) == names
    now = (7.0 * i for i in range(10_000))
    monkeypatch.setattr(training_run.time, "monotonic", lambda: next(now))  # each call returns 7 seconds more
    train(tiny_recipe, tmp_path / "b", "training.state_every=1min", "training.keep=9", "training.epochs=1")
    saved = sorted(each.name for each in (tmp_path / "b" / "state").iterdir())
    assert 2 < len(saved) < 6


def test_saving_more_often_does_not_change_the_result(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "training.state_every=null")
    train(tiny_recipe, tmp_path / "b", "training.state_every=1")
    for part in ("model", "evaluation", "state/epoch-0002"):
        found = [contents(tmp_path / name / part) for name in "ab"]
        assert found[0] == found[1]
        assert found[0]


def training(recipe, *words):
    return ["train", str(recipe), "--precision", "fp32", "--device", "cpu", *words]


def order(state):
    """Return a key that sorts states by their age; an incomplete one replaces the complete one of the same name."""
    return finished(state).name, left_by_a_crash(state)


def start_and_wait_for(path, tmp_path, recipe, *words):
    """Start a training run; return the process when a path, or a later state, exists: old states are removed."""
    process = start(*training(recipe, *words), cwd=tmp_path)
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if path.parent.exists() and any(order(each) >= order(path) for each in path.parent.iterdir()):
            break
        time.sleep(0.001)
    return process


@pytest.mark.parametrize(
    ("curriculum", "state"),
    [
        ("hybrid", ".epoch-0000-step-00000005.mbert-new"),  # during a save, within the phase of the second task
        ("hybrid", "epoch-0001-step-00000002"),  # within the simultaneous phase
        ("sequential", "epoch-0000-step-00000008"),
        ("simultaneous", ".epoch-0001.mbert-new"),
    ],
)
def test_a_killed_process_resumes_to_the_same_bytes(tiny_recipe, tmp_path, curriculum, state, figures):
    settings = (EVERY_STEP, f"curriculum={curriculum}", "training.keep=1")
    train(tiny_recipe, tmp_path / "a", *settings)
    process = start_and_wait_for(tmp_path / "b" / "state" / state, tmp_path, tiny_recipe, *settings, "-o", "b")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    train(tiny_recipe, tmp_path / "b", *settings, resume=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.fixture
def listening():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signals.listen()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signals._Received.number = None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("owner", "name", "at", "saved"),
    [
        (OptimizerStep, "__call__", 5, "epoch-0000-step-00000005"),  # during a step: saved at its end
        (RowwiseAdamW, "step", 10, "epoch-0001-step-00000001"),
        (RowwiseAdamW, "catch_up", 10, "epoch-0000-step-00000009"),  # after the last step, before the dev files
        (training_run, "evaluate", 1, "epoch-0000-step-00000009"),
        (saver, "commit_epoch", 1, "epoch-0001"),  # during the commit: stops after it
        (commit_epoch, "commit_state", 1, "epoch-0001"),
        (training_run, "draw_figures", 1, "epoch-0002"),
    ],
)
def test_a_signal_stops_the_training_after_its_state_is_saved(
    tiny_recipe, tmp_path, monkeypatch, listening, number, owner, name, at, saved
):
    train(tiny_recipe, tmp_path / "a", "training.keep=1")
    real, calls = getattr(owner, name), iter(range(1, 1000))

    def signalled(*arguments, **options):
        if next(calls) == at:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # a second one, as some terminals and wrappers send it
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, signalled)
        with pytest.raises(Stopped, match=r"stopped.*saved.*--resume") as stopped:
            train(tiny_recipe, tmp_path / "b", "training.keep=1")
    assert stopped.value.exit_code == 128 + number
    assert [each.name for each in (tmp_path / "b" / "state").iterdir()] == [saved]
    train(tiny_recipe, tmp_path / "b", "training.keep=1", resume=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("error", [ImportError("initialization failed"), None])
def test_a_stop_that_other_code_hides_still_stops_the_training(tiny_recipe, tmp_path, monkeypatch, listening, error):
    def signalled(*arguments, **options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped as stop:
            if error is not None:
                raise error from stop
        return evaluate(*arguments, **options)

    evaluate = training_run.evaluate
    monkeypatch.setattr(training_run, "evaluate", signalled)
    with pytest.raises(Stopped, match=r"stopped.*saved.*--resume"):
        train(tiny_recipe, tmp_path / "b")


def test_an_error_after_a_signal_is_reported_as_the_error(tiny_recipe, tmp_path, monkeypatch, listening):
    def full(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        raise ResourceError("the disk is full.")

    monkeypatch.setattr(saver, "commit_epoch", full)
    with pytest.raises(ResourceError):
        train(tiny_recipe, tmp_path / "b")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_its_code_and_one_line(tiny_recipe, tmp_path, number, code):
    first = tmp_path / "c" / "state" / "epoch-0001"
    process = start_and_wait_for(first, tmp_path, tiny_recipe, "training.epochs=100000", "-o", "c")
    process.send_signal(number)
    _, text_of_message = process.communicate(timeout=60)
    assert process.returncode == code
    assert "--resume" in text_of_message.splitlines()[-1]
    assert "Traceback" not in text_of_message


def test_a_signal_before_the_first_step_leaves_nothing_to_resume(tiny_recipe, tmp_path):
    process = start_and_wait_for(tmp_path / "d" / ".lock", tmp_path, tiny_recipe, "-o", "d")
    process.terminate()
    _, text_of_message = process.communicate(timeout=60)
    assert process.returncode == 143
    assert text_of_message.splitlines()[-1] == "stopped."
    assert not (tmp_path / "d").exists()


def test_a_signal_while_the_lock_is_taken_leaves_no_folder(tmp_path, monkeypatch, listening):
    def signalled(*words):
        lock = hold(*words)
        os.kill(os.getpid(), signal.SIGTERM)
        return lock

    hold = run_lock.take_lock
    monkeypatch.setattr(run_lock, "take_lock", signalled)
    with pytest.raises(Stopped), locked(RunFolder(tmp_path / "runs" / "e")):
        pass
    assert not (tmp_path / "runs").exists()


def test_an_existing_folder_that_cannot_be_locked_is_not_removed(tmp_path, monkeypatch):
    def refused(*_):
        raise UsageError("it cannot be written to")

    (tmp_path / "there").mkdir()
    monkeypatch.setattr(run_lock, "take_lock", refused)
    with pytest.raises(UsageError, match="written to"), locked(RunFolder(tmp_path / "there")):
        pass
    assert (tmp_path / "there").is_dir()


def test_more_epochs_continue_the_same_run(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "training.epochs=3")
    train(tiny_recipe, tmp_path / "b", "training.epochs=1")
    train(tiny_recipe, tmp_path / "b", "training.epochs=3", resume=True)
    states = [contents(tmp_path / name / "state" / "epoch-0003" / "encoder") for name in "ab"]
    assert states[0] == states[1]


def test_resume_uses_the_state_before_a_damaged_one(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "training.epochs=3")
    train(tiny_recipe, tmp_path / "b", "training.epochs=3")
    (tmp_path / "b" / "state" / "epoch-0003" / "optimizer.safetensors").write_bytes(b"damaged")
    train(tiny_recipe, tmp_path / "b", "training.epochs=3", resume=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.learning_rate=0.5", "training.learning_rate was 0.001 and is now 0.5"),
        ("adapters[0].rank=2", "adapters was .*'rank': 4.* and is now .*'rank': 2"),
        ("training.seed=5", "training.seed was 11711 and is now 5"),
    ],
)
def test_resume_refuses_a_changed_recipe_with_the_difference(tiny_recipe, tmp_path, setting, message):
    train(tiny_recipe, tmp_path / "a", "training.epochs=1")
    before = contents(tmp_path / "a")
    with pytest.raises(UsageError, match=message):
        train(tiny_recipe, tmp_path / "a", "training.epochs=2", setting, resume=True)
    assert contents(tmp_path / "a") == before


def test_resume_ignores_changes_of_the_scores_to_compare_with(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "training.epochs=1")
    for epochs, reference in ((2, "{source: a paper, scores: {mood: 0.5}}"), (3, "null")):
        settings = (f"training.epochs={epochs}", f"reference={reference}")
        train(tiny_recipe, tmp_path / "a", *settings, resume=True)
        assert [line.epoch for line in RunFolder(tmp_path / "a").read_metrics()] == list(range(1, epochs + 1))
    train(tiny_recipe, tmp_path / "b", "training.epochs=3")
    states = [contents(tmp_path / name / "state" / "epoch-0003" / "encoder") for name in "ab"]
    assert states[0] == states[1]


def test_a_run_that_was_made_before_quoting_was_auto_is_resumed(tiny_recipe, tmp_path):
    """Its recipe and its fingerprint have `csv`, which was the default."""
    train(tiny_recipe, tmp_path / "a", "training.epochs=1", "tasks.mood.quoting=csv")
    train(tiny_recipe, tmp_path / "a", "training.epochs=2", resume=True)
    assert [line.epoch for line in RunFolder(tmp_path / "a").read_metrics()] == [1, 2]
    with pytest.raises(UsageError, match="tasks.mood.quoting was 'csv' and is now 'none'"):
        train(tiny_recipe, tmp_path / "a", "training.epochs=3", "tasks.mood.quoting=none", resume=True)


def test_resume_refuses_changed_data(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "training.epochs=1")
    with pytest.raises(UsageError, match="rows.train.mood was 20 and is now 5"):
        train(tiny_recipe, tmp_path / "a", "training.epochs=2", resume=True, limit=5)


def test_resume_refuses_a_file_with_one_changed_word(tiny_recipe, tiny_files, tmp_path):
    copy = tmp_path / "mood.tsv"
    copy.write_text((tiny_files / "mood-train.tsv").read_text())
    settings = ("training.epochs=1", f"tasks.mood.train={copy}")
    train(tiny_recipe, tmp_path / "a", *settings)
    copy.write_text(copy.read_text().replace("low", "mid"))
    with pytest.raises(UsageError, match=r"data.train.mood was '\w{8}\.\.\.' and is now '\w{8}\.\.\.'"):
        train(tiny_recipe, tmp_path / "a", *settings, resume=True)


def test_resume_refuses_other_hardware_and_versions(tiny_recipe, tmp_path, monkeypatch):
    train(tiny_recipe, tmp_path / "a", "training.epochs=1")
    monkeypatch.setattr("mbert_cli.training.fingerprint.versions", lambda: {"torch": "9.9"})
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "abacus")
    with pytest.raises(
        UsageError, match=r"hardware.instructions was '.*' and is now 'abacus'; versions.mbert-cli was .*--allow-drift"
    ):
        train(tiny_recipe, tmp_path / "a", "training.epochs=2", resume=True)


def test_resume_refuses_other_kernels(tiny_recipe, tmp_path):
    recipe, folder = load_recipe(str(tiny_recipe), ["training.epochs=1"]), RunFolder(tmp_path / "a")
    fit(recipe, folder, RunOptions(choose("cpu", "fp32", "torch"), QUIET))
    with pytest.raises(UsageError, match=r"hardware.kernels was 'torch' and is now 'fused'"):
        fit(recipe, folder, RunOptions(choose("cpu", "fp32", "fused"), QUIET, resume=True))


def test_allowed_drift_is_recorded_in_all_later_epochs(tiny_recipe, tmp_path):
    with dying_after(0, 4):
        train(tiny_recipe, tmp_path / "a", EVERY_STEP)
    other = (EVERY_STEP, "training.learning_rate=0.5", "loss_balancing=gradnorm", "training.epochs=2")
    with pytest.raises(UsageError, match="loss_balancing.kind was 'total' and is now 'gradnorm'"):
        train(tiny_recipe, tmp_path / "a", *other, resume=True)
    train(tiny_recipe, tmp_path / "a", *other, resume=True, allow_drift=True)
    train(tiny_recipe, tmp_path / "a", *other[:-1], "training.epochs=3", resume=True)
    expected = "epoch 1, step 4: training.learning_rate was 0.001 and is now 0.5"
    for line in RunFolder(tmp_path / "a").read_metrics():
        assert expected in line.drift
    assert json.loads((tmp_path / "a" / "model" / "config.json").read_text())["scores"]["drift"]


def test_drift_to_another_model_is_always_refused(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a", "training.epochs=1")
    with pytest.raises(CheckpointError, match=r"state/epoch-0001/tasks/mood.safetensors: does not fit the model"):
        train(tiny_recipe, tmp_path / "a", "adapters[0].rank=2", "training.epochs=2", resume=True, allow_drift=True)


@pytest.mark.parametrize("allow_drift", [False, True])
def test_a_state_of_a_version_before_0_1_0_is_refused_with_the_remedy(tiny_recipe, tmp_path, allow_drift):
    """Such a state had the weights of encoder and tasks in one file. --allow-drift would not help."""
    train(tiny_recipe, tmp_path / "b", "training.epochs=1")
    state = tmp_path / "b" / "state" / "epoch-0001"

    def as_before(folder):
        for name in ("state.json", "optimizer.safetensors"):
            (folder / name).write_bytes((state / name).read_bytes())
        (folder / "model.safetensors").write_bytes(b"")

    commit_folder(tmp_path / "before", as_before)
    remove_folder(state)
    (tmp_path / "before").rename(state)
    with pytest.raises(CheckpointError, match="epoch-0001: was saved by a version before 0.1.0, .* with --force"):
        train(tiny_recipe, tmp_path / "b", "training.epochs=2", resume=True, allow_drift=allow_drift)


def test_resume_fails_if_all_states_are_damaged(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a")
    for state in (tmp_path / "a" / "state").iterdir():
        (state / "optimizer.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"(?s)epoch-0002.*altered.*epoch-0001.*altered.*--force"):
        train(tiny_recipe, tmp_path / "a", "training.epochs=3", resume=True)


def test_missing_metrics_of_the_best_epoch_are_reported(tiny_recipe, tmp_path):
    train(tiny_recipe, tmp_path / "a")
    (tmp_path / "a" / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"metrics.jsonl: has no line for epoch \d, whose model is kept"):
        train(tiny_recipe, tmp_path / "a", resume=True)


def test_a_run_killed_before_its_first_scored_epoch_has_no_model_until_it_is_resumed(tiny_recipe, tmp_path):
    settings = ("training.select_after=0.5", "training.epochs=4", "training.state_every=null")
    train(tiny_recipe, tmp_path / "a", *settings)
    with dying_after(2):
        train(tiny_recipe, tmp_path / "b", *settings)
    assert [line.overall for line in RunFolder(tmp_path / "b").read_metrics()] == [None, None]
    with pytest.raises(CheckpointError, match="contains no model; no epoch of this run has been scored yet"):
        model_folder(tmp_path / "b")
    assert train(tiny_recipe, tmp_path / "b", *settings, resume=True).epoch > 2
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_best_epoch_that_select_after_now_excludes_is_replaced(tiny_recipe, tmp_path, monkeypatch):
    given = [0.9, 0.8, 0.1, 0.2]
    monkeypatch.setattr("mbert_cli.training.loop.selected", lambda found, select: given.pop(0))
    train(tiny_recipe, tmp_path / "a", "training.epochs=2")
    more = ("training.select_after=0.5", "training.epochs=4")
    assert train(tiny_recipe, tmp_path / "a", *more, resume=True, allow_drift=True).epoch == 4


def test_a_run_with_select_after_is_not_resumed_with_more_epochs(tiny_recipe, tmp_path):
    settings = ("curriculum=simultaneous", "training.select_after=0.5")
    train(tiny_recipe, tmp_path / "a", *settings, "training.epochs=1")
    with pytest.raises(UsageError, match=r"training\.epochs was 1 and is now 2"):
        train(tiny_recipe, tmp_path / "a", *settings, "training.epochs=2", resume=True)
