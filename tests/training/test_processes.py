"""Training in several processes on gloo. `test_reliability.py` compares them with one process, and kills them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ranks import ranks_of

from mbert_cli.cli import app
from mbert_cli.errors import UsageError
from mbert_cli.machine.launcher import failure_of, parse_devices, without_devices
from mbert_cli.training.portion import deal

TESTS = Path(__file__).parent.parent
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}


# Dealing


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 32])
def test_every_example_has_one_process(rows, count):
    rng = np.random.default_rng(rows)
    lengths = {"a": rng.integers(3, 40, rows), "b": rng.integers(3, 40, 5)}
    shares = [deal(lengths, rank, count) for rank in range(count)]
    for task, tokens in lengths.items():
        places = [own[task].tolist() for own, idle in shares if task not in idle]
        assert sorted(place for own in places for place in own) == list(range(len(tokens)))
        assert all(own == sorted(own) for own in places)
        assert all(len(own[task]) == 1 for own, idle in shares if task in idle)


def test_processes_get_about_as_many_tokens():
    lengths = {"a": np.random.default_rng(0).integers(3, 60, 32), "b": np.random.default_rng(1).integers(3, 60, 32)}
    for count in (2, 3, 4):
        tokens = [
            sum(lengths[task][places].sum() for task, places in deal(lengths, rank, count)[0].items())
            for rank in range(count)
        ]
        assert max(tokens) < 1.15 * sum(tokens) / count


# Whole commands


@pytest.fixture(scope="module")
def recipe(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    return tiny.write_recipe(tmp_path_factory.mktemp("recipe") / "recipe.yaml", tiny_checkpoint, tiny_files)


def start(recipe, folder, *words, command=None):
    """Start `mbert train` in two processes."""
    command = command or [sys.executable, "-m", "mbert_cli", "train", "--devices", "2"]
    settings = ["curriculum=simultaneous", "adapters=[]", "training.state_every=2"]
    temporary = folder.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*command, str(recipe), *settings, "--precision", "fp32", "--kernels", "torch", "-o", str(folder), *words],
        env={**ONE_THREAD, "OMP_NUM_THREADS": "2", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for_epochs(folder, count):
    deadline = time.monotonic() + 240
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text(encoding="utf-8").splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_hangs_is_killed_and_ends_all(recipe, tmp_path):
    process = start(recipe, tmp_path / "run", "training.epochs=200")
    wait_for_epochs(tmp_path / "run", 1)
    ranks = ranks_of(process.pid)
    os.kill(ranks[1], signal.SIGSTOP)
    code, _, err = finished(process)
    assert code == 6
    assert f"process 1 (pid {ranks[1]} on " in err
    assert "gave no sign of life" in err
    assert not any(Path(f"/proc/{each}").exists() for each in ranks.values())


@pytest.mark.parametrize(
    ("codes", "first", "expected"),
    [
        ({0: 2, 1: 2}, 0, 2),
        ({1: 5}, 1, 5),
        ({0: 6, 1: -9}, 0, 6),  # the first process noticed that the other was killed
        ({1: -9}, 1, 6),
        ({0: 143, 1: 143}, 1, 143),
        ({0: 1}, 0, 1),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_failed_first(codes, first, expected):
    error = failure_of(codes, first, "run it again")
    assert error.exit_code == expected
    assert ("process 1 was killed by SIGKILL; run it again." in str(error)) == (-9 in codes.values())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_signal_saves_and_stops_all_processes_and_another_number_is_not_resumed(recipe, tmp_path):
    process = start(recipe, tmp_path / "run", "training.epochs=200", "training.track=[tensorboard]")
    wait_for_epochs(tmp_path / "run", 1)
    first = ranks_of(process.pid)[0]
    process.send_signal(signal.SIGTERM)
    code, _, err = finished(process)
    assert code == 143
    assert err.count("stopped; epoch ") == 1
    assert "Traceback" not in err
    (written,) = (tmp_path / "run" / "tracking" / "tensorboard").iterdir()  # only the first process has a tracker
    assert int(written.name.split(".")[-2]) == first
    one = [sys.executable, "-m", "mbert_cli", "train"]
    code, _, err = finished(start(recipe, tmp_path / "run", "training.epochs=200", "--resume", command=one))
    assert code == 2
    assert "hardware.processes was 2 and is now 1" in err


@pytest.mark.parametrize("setting", ["training.epochs=-1", "tasks.mood.train=nowhere.tsv", "training.max_length=9999"])
def test_a_mistake_is_reported_once(recipe, tmp_path, setting):
    code, _, err = finished(start(recipe, tmp_path / "run", setting))
    assert code == 2
    assert len(err.splitlines()) == 1, err
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("temporary/*"))


@pytest.mark.parametrize("value", ["0", "-1", "two", "1,1", "0,,1", ""])
def test_devices_that_are_no_devices_are_refused(recipe, tmp_path, value):
    with pytest.raises(UsageError, match="--devices is "):
        parse_devices(value)


def test_devices_are_refused_in_a_process_of_torchrun(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="--devices starts the processes itself; leave it out"):
        app(["train", "--devices", "2"], standalone_mode=False)


def test_devices_are_a_number_or_a_list_of_gpus():
    assert parse_devices("4") == (4, None)
    assert parse_devices("0,2,3") == (3, "0,2,3")
    assert without_devices(["train", "a.yaml", "--devices", "2", "-o", "x", "--devices=3"]) == [
        "train",
        "a.yaml",
        "-o",
        "x",
    ]
