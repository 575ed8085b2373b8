"""Training in several processes on gloo: they compute what one process computes, and all end if one is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mbert_cli.errors import UsageError
from mbert_cli.machine.launcher import failure_of, parse_devices, without_devices
from mbert_cli.training.portion import deal

TESTS = Path(__file__).parent.parent
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
FIXED = ("training.learning_rate=1e-30", "encoder.dropout=0.2", "training.batch_size=7", "training.epochs=2")
CLASSES = "{kind: classification, labels: [low, mid, high], class_weights: balanced}"


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


# Equality with one process


@pytest.fixture(scope="module")
def recipe(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    return tiny.write_recipe(tmp_path_factory.mktemp("recipe") / "recipe.yaml", tiny_checkpoint, tiny_files)


@pytest.fixture(scope="module")
def results(recipe, tmp_path_factory):
    """The first steps of some recipes in 1, 2 and 3 processes."""
    folder = tmp_path_factory.mktemp("equal")
    changed = {
        "sum": ["curriculum=simultaneous"],
        "pcgrad": ["curriculum=simultaneous", "loss_balancing=pcgrad"],
        "gradnorm": ["curriculum=simultaneous", "loss_balancing=gradnorm"],
        "famo": ["curriculum=simultaneous", "loss_balancing=famo", "adapters=[{kind: lora, rank: 4, dropout: 0.3}]"],
        "hybrid": ["loss_balancing=uncertainty", "tasks.same.token_dropout=0.3", f"tasks.mood.head={CLASSES}"],
        "two rows": ["curriculum=simultaneous", "training.batch_size=2"],
        "cached": ["adapters=[top]", "training.freeze_encoder=true", "training.cache_features=true"],
    }
    cases = {name: {"recipe": str(recipe), "settings": [*FIXED, *settings]} for name, settings in changed.items()}
    cases["trained"] = {"recipe": str(recipe), "settings": ["training.batch_size=5"], "steps": 100}
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    words = [str(TESTS / "equal_processes.py"), str(folder / "cases.json"), str(folder)]
    for command in ([sys.executable], [*TORCHRUN, "2"], [*TORCHRUN, "3"]):
        subprocess.run([*command, *words], env=ONE_THREAD, check=True, capture_output=True, timeout=500)
    return folder


def result_of(folder, name, count, rank):
    at = folder / f"{name}-of-{count}"
    return json.loads((at / f"{rank}.json").read_text(encoding="utf-8")), torch.load(at / f"{rank}.pt")


@pytest.mark.parametrize("name", ["sum", "pcgrad", "gradnorm", "famo", "hybrid", "two rows", "cached", "trained"])
@pytest.mark.parametrize("count", [2, 3])
def test_processes_compute_the_losses_gradients_and_metrics_of_one(results, name, count):
    one, gradients = result_of(results, name, 1, 0)
    first, first_gradients = result_of(results, name, count, 0)
    # At equal weights, only the order of additions differs.
    tolerance = 1e-4 if name == "trained" else 3e-6
    assert len(first["losses"]) == len(one["losses"]) > 3
    for ours, expected in zip(first["losses"], one["losses"], strict=True):
        assert ours == pytest.approx(expected, rel=tolerance)
    if name != "trained":
        for own, reference in zip(first_gradients, gradients, strict=True):
            assert (own - reference).norm() <= 5e-6 * reference.norm()
    for task, metrics in one["metrics"]["tasks"].items():
        assert first["metrics"]["tasks"][task]["examples"] == metrics["examples"]
        assert first["metrics"]["tasks"][task]["loss"] == pytest.approx(metrics["loss"], rel=1e-3)
    for rank in range(1, count):
        other, other_gradients = result_of(results, name, count, rank)
        assert other == first
        assert all(torch.equal(*pair) for pair in zip(first_gradients, other_gradients, strict=True))


# Whole commands


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


def processes_of(parent) -> dict[int, int]:
    """Return the process id of each rank."""
    words = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout.split()
    ranks = {}
    for word in words:
        for variable in Path(f"/proc/{word}/environ").read_bytes().split(b"\0"):
            if variable.startswith(b"RANK="):
                ranks[int(variable[5:])] = int(word)
    return ranks


def wait_for_epochs(folder, count):
    deadline = time.monotonic() + 240
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text(encoding="utf-8").splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def bytes_of(folder):
    """The model of a run: everything in it is written without times."""
    return {
        str(each.relative_to(folder)): each.read_bytes() for each in sorted((folder / "model").rglob("*.safetensors"))
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_process_ends_all_and_a_resumed_run_gives_the_same_bytes(recipe, tmp_path):
    code, _, err = finished(start(recipe, tmp_path / "whole", "training.epochs=8"))
    assert code == 0, err
    interrupted = start(recipe, tmp_path / "killed", "training.epochs=8")
    wait_for_epochs(tmp_path / "killed", 2)
    ranks = processes_of(interrupted.pid)
    assert set(ranks) == {0, 1}
    os.kill(ranks[1], signal.SIGKILL)
    code, _, err = finished(interrupted)
    assert code == 6
    assert "process 1 was killed by SIGKILL; run the command again with --resume." in err
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{each}").exists() for each in ranks.values())
    code, _, err = finished(start(recipe, tmp_path / "killed", "training.epochs=8", "--resume"))
    assert code == 0, err
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    code, _, err = finished(
        start(recipe, tmp_path / "whole", "--resume", command=[sys.executable, "-m", "mbert_cli", "train"])
    )
    assert code == 2
    assert "hardware.processes was 2 and is now 1" in err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_hangs_is_killed_and_ends_all(recipe, tmp_path):
    process = start(recipe, tmp_path / "run", "training.epochs=200")
    wait_for_epochs(tmp_path / "run", 1)
    ranks = processes_of(process.pid)
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
    error = failure_of(codes, first)
    assert error.exit_code == expected
    assert ("process 1 was killed by SIGKILL" in str(error)) == (-9 in codes.values())


def test_a_signal_saves_and_stops_all_processes(recipe, tmp_path):
    process = start(recipe, tmp_path / "run", "training.epochs=200")
    wait_for_epochs(tmp_path / "run", 1)
    process.send_signal(signal.SIGTERM)
    code, _, err = finished(process)
    assert code == 143
    assert err.count("stopped; epoch ") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("setting", ["training.epochs=-1", "tasks.mood.train=nowhere.tsv", "training.max_length=9999"])
def test_a_mistake_is_reported_once(recipe, tmp_path, setting):
    code, _, err = finished(start(recipe, tmp_path / "run", setting))
    assert code == 2
    assert len(err.splitlines()) == 1, err
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("temporary/*"))


def test_one_process_under_torchrun_gives_the_bytes_of_a_plain_run(recipe, tmp_path):
    settings = ["training.epochs=2"]
    for name, command in (("plain", [sys.executable]), ("torchrun", [*TORCHRUN, "1"])):
        code, _, err = finished(
            start(recipe, tmp_path / name, *settings, command=[*command, "-m", "mbert_cli", "train"])
        )
        assert code == 0, err
    assert bytes_of(tmp_path / "plain") == bytes_of(tmp_path / "torchrun")


@pytest.mark.parametrize("value", ["0", "-1", "two", "1,1", "0,,1", ""])
def test_devices_that_are_no_devices_are_refused(recipe, tmp_path, value):
    with pytest.raises(UsageError, match="--devices is "):
        parse_devices(value)


def test_devices_are_a_number_or_a_list_of_gpus():
    assert parse_devices("4") == (4, None)
    assert parse_devices("0,2,3") == (3, "0,2,3")
    assert without_devices(["train", "a.yaml", "--devices", "2", "-o", "x", "--devices=3"]) == [
        "train",
        "a.yaml",
        "-o",
        "x",
    ]
