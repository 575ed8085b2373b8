"""Members of an ensemble that train at the same time, most of them stand-ins (see `stand_in`); the last tests train."""

import io
import json
import os
import re
import signal
import subprocess
import time

import pytest
import stand_in
import torch
from commands import start
from rich.console import Console as RichConsole

from mbert_cli.cli import app
from mbert_cli.errors import RunFailedError, Stopped, UsageError
from mbert_cli.machine import child_process as child_training
from mbert_cli.machine.hardware import Hardware
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.commit_epoch import commit_state
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.members import member_recipe
from mbert_cli.training.options import RunOptions
from mbert_cli.training.parallel_members import train_at_once

CPU = ("--precision", "fp32", "--device", "cpu", "--kernels", "torch")
HARDWARE = Hardware(torch.device("cpu"), torch.float32)


@pytest.fixture
def here(tiny_recipe, tmp_path, monkeypatch):
    """The folder of an ensemble of three members; training runs are stand-ins."""
    monkeypatch.setattr(child_training, "spawn", stand_in.Process)
    monkeypatch.setattr(child_training, "cores", lambda: 6)
    monkeypatch.setattr("mbert_cli.machine.process_pool._POLL_EVERY", 0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path / "out"


def train(here, *settings, jobs=2, console=None, allow_drift=False, hardware=HARDWARE):
    recipe = load_recipe(str(here.parent / "recipe.yaml"), ["training.members=3", "training.epochs=2", *settings])
    here.mkdir(exist_ok=True)
    folder = RunFolder(here)
    folder.write_recipe(recipe.to_yaml())
    members = [(member_recipe(recipe, number), RunFolder(here / "members" / str(number))) for number in (1, 2, 3)]
    options = RunOptions(hardware, console or Console(quiet=True), allow_drift=allow_drift, jobs=jobs)
    train_at_once(folder, members, options)
    return recipe


def log(here, number):
    return (here / "members" / f"{number}.log").read_text()


def test_each_member_is_a_run_with_its_own_recipe(here):
    recipe = train(here)
    for number in (1, 2, 3):
        run = RunFolder(here / "members" / str(number))
        assert run.recipe_file.read_text() == member_recipe(recipe, number).to_yaml()
        assert [line.epoch for line in run.read_metrics()] == [1, 2]
        assert "--device cpu --precision fp32 --kernels torch" in log(here, number)


def test_epochs_of_all_members_are_printed(here, capsys):
    train(here, console=Console(events=True))
    printed = capsys.readouterr()
    epochs = [(event["member"], event["epoch"]) for event in map(json.loads, printed.out.splitlines())]
    assert sorted(epochs) == [(member, epoch) for member in (1, 2, 3) for epoch in (1, 2)]
    assert "3 members, 2 at once; logs: " in printed.err
    assert "member 3, epoch 2/2: " in printed.err


def test_a_terminal_shows_the_last_message_of_each_member_below_the_bar(here):
    console = Console()
    console.rich = RichConsole(file=io.StringIO(), force_terminal=True, width=100)
    train(here, console=console)
    shown = console.rich.file.getvalue()
    assert "epochs of all members" in shown
    assert "member 3: epoch 2" in shown  # the others ended before the terminal was drawn again


@pytest.mark.parametrize(
    ("jobs", "threads"), [(2, ["3", "3", "free"]), (3, ["2", "2", "2"]), (6, ["2", "2", "2"]), (1, ["free"] * 3)]
)
def test_members_that_train_at_the_same_time_share_the_cores(here, jobs, threads):
    train(here, jobs=jobs)
    assert [re.findall("threads (.*)", log(here, number)) for number in (1, 2, 3)] == [[each] for each in threads]


@pytest.mark.parametrize(
    ("device", "devices"), [("cuda", ["cuda:0", "cuda:1", "cuda:0"]), ("cuda:1", ["cuda:1"] * 3), ("cpu", ["cpu"] * 3)]
)
def test_members_that_train_at_the_same_time_use_the_gpus_in_turn(here, capsys, monkeypatch, device, devices):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    train(here, jobs=3, hardware=Hardware(torch.device(device), torch.float32), console=Console())
    assert [re.search("--device (.*?) ", log(here, number))[1] for number in (1, 2, 3)] == devices
    printed = re.findall("member .: training on (.*)", capsys.readouterr().err)
    assert printed == (devices if device == "cuda" else [])


def test_a_failed_member_ends_the_training_with_its_exit_code_and_message(here):
    with pytest.raises(RunFailedError) as caught:
        train(here, f"training.learning_rate={stand_in.NOT_FINITE}")
    assert caught.value.exit_code == 5
    what, remedy = caught.value.problems
    assert what == f"{here / 'members' / '1.log'}: member 1 failed with exit code 5: the loss is nan"
    assert remedy == "progress of all members is saved. To continue, repeat the command with --resume."


def test_a_member_with_a_state_is_resumed_and_one_without_starts_again(here):
    with pytest.raises(RunFailedError):
        train(here, f"training.learning_rate={stand_in.NOT_FINITE}")
    first = RunFolder(here / "members" / "1")
    assert first.holds_a_run()
    assert not first.states.exists()
    commit_state(first, 0, 1, stand_in.write_text("progress"), 2)
    train(here, allow_drift=True)
    assert "--resume --allow-drift" in log(here, 1)
    assert "--resume" not in log(here, 2)
    assert all(len(RunFolder(here / "members" / str(each)).read_metrics()) == 2 for each in (1, 2, 3))


def test_a_signal_reaches_all_members(here, monkeypatch):
    class Running(subprocess.Popen):
        def __init__(self, *_):
            self.heard = []
            started.append(self)

        def poll(self):
            if len(started) == 2 and not asked:
                asked.append(True)
                raise Stopped(signal.SIGINT)

        def send_signal(self, number):
            self.heard.append(number)

        def wait(self):
            self.heard.append("waited for")

        def __del__(self):
            pass

    started, asked = [], []
    monkeypatch.setattr(child_training, "spawn", Running)
    with pytest.raises(Stopped, match="stopped; progress of all members is saved") as caught:
        train(here)
    assert caught.value.number == signal.SIGINT
    assert [each.heard for each in started] == [[signal.SIGINT, "waited for"]] * 2


def test_jobs_are_for_ensembles(tiny_recipe, tmp_path):
    with pytest.raises(UsageError, match=r"--jobs is for ensembles, and training.members is 1; mbert sweep"):
        app(["train", str(tiny_recipe), "-o", str(tmp_path / "out"), "-j", "2"], standalone_mode=False)
    assert not (tmp_path / "out").exists()


SETTINGS = ("training.members=2", "training.epochs=2", "training.state_every=1")


def begin(recipe, run, *words):
    return start("train", recipe, "-o", run, *SETTINGS, *CPU, *words)


def end(process):
    message = process.communicate(timeout=300)[1]
    assert process.returncode == 0, message


@pytest.fixture(scope="module")
def whole(tiny_checkpoint, tiny_files, tmp_path_factory):
    """Two members that trained at the same time without interruption; their recipe is beside them."""
    import tiny

    recipe = tiny.write_recipe(tmp_path_factory.mktemp("at-once") / "recipe.yaml", tiny_checkpoint, tiny_files)
    end(begin(recipe, recipe.parent / "whole", "-j", "2"))
    return recipe.parent / "whole"


@pytest.mark.parametrize(("number", "code", "then"), [(signal.SIGTERM, 143, ("-j", "2")), (signal.SIGKILL, -9, ())])
def test_an_interrupted_and_resumed_ensemble_has_the_bytes_of_an_uninterrupted_one(whole, tmp_path, number, code, then):
    """With real training runs. In one case, the remaining members train one after another."""
    recipe = whole.parent / "recipe.yaml"
    first = begin(recipe, tmp_path, "-j", "2")
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("members/*/state/epoch-0001*"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(first.pid, number)
    message = first.communicate(timeout=60)[1]
    assert first.returncode == code
    assert code < 0 or message.splitlines()[-1].endswith(
        "progress of all members is saved. To continue, repeat the command with --resume."
    )
    end(begin(recipe, tmp_path, "--resume", *then))
    files = [path.relative_to(whole) for path in whole.rglob("*.safetensors")]
    assert any("members" in str(file) for file in files)
    for file in files:
        assert (tmp_path / file).read_bytes() == (whole / file).read_bytes()
    assert not list(tmp_path.glob("members/*/state"))
