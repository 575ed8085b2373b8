"""A prediction on a Ray cluster of this machine, of which two workers and then the command are killed."""

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
from experiment import Chance, Experiment, check, once
from processes import HARDWARE, kill, recipe_of, start_python, train_here, wait_until, write_sentences

from mbert_cli.cli import app
from mbert_cli.machine.hardware import computing_with

_ROWS = 1_000_000
_WINDOW = 8192  # rows of a piece


def _predict_here(run: Path, rows: Path, output: Path, threads: int) -> None:
    with computing_with(threads):
        app(["predict", str(run), str(rows), "-o", str(output), *HARDWARE, "-q"], standalone_mode=False)


def _journals(folder: Path) -> list[Path]:
    return list(folder.glob(".out.tsv.parts/*/.*.partial/journal.jsonl"))


def _pieces(folder: Path) -> int:
    """Return the number of pieces of rows in the journals of all parts."""
    counts = (journal.read_bytes().count(b"\n") for journal in _journals(folder))
    return sum(max(0, lines - 2) for lines in counts)  # without the fingerprint and the header


def ray_workers(process: int) -> list[psutil.Process]:
    """Return the workers of a command: only those of its own cluster."""
    workers = []
    with suppress(psutil.NoSuchProcess):  # the command has ended
        for each in psutil.Process(process).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if (each.cmdline() or [""])[0].startswith("ray::MapWorker"):
                    workers.append(each)
    return workers


def _kill_command(command: subprocess.Popen[str]) -> None:
    """Kill a command, and wait until its workers have ended, as Ray ends them. Ray's own agents may take longer."""
    workers = ray_workers(command.pid)
    kill(command)
    _, alive = psutil.wait_procs(workers, timeout=60)
    check(not alive, f"workers are left of a command that was killed: {alive}")


def _killed(chance: Chance, folder: Path) -> None:
    recipe = recipe_of(folder)
    run = once(folder, "model-for-ray", lambda new: train_here(recipe, new, ["training.epochs=1"]))
    rows = once(folder, f"{_ROWS}-rows-for-ray.tsv", lambda new: write_sentences(new, _ROWS, 7) and None)
    out = folder / "out.tsv"
    words = ("predict", run, rows, *HARDWARE, "-q", "-o", out, "--engine", "ray", "--workers", "2")
    command = start_python(*words)
    steps = [chance.random() * 0.3 * (_ROWS / _WINDOW) for _ in range(3)]
    for number in range(2):
        reached = wait_until(lambda: _pieces(folder) > sum(steps[: number + 1]), command)  # noqa: B023
        check(
            reached and wait_until(lambda: bool(ray_workers(command.pid)), command), "the command ended before a kill"
        )
        chance.choice(ray_workers(command.pid)).kill()
        time.sleep(chance.random())
    check(wait_until(lambda: _pieces(folder) > sum(steps), command), "the command ended before it was killed")
    _kill_command(command)
    check(not out.exists(), "a command that was killed has written its output")
    begun = json.loads(_journals(folder)[0].read_bytes().split(b"\n")[0])["origin"]
    command = start_python(*words)
    _, messages = command.communicate()
    check(command.returncode == 0, f"exit code {command.returncode}: {messages}")
    check([each.name for each in folder.iterdir()] == ["out.tsv"], "temporary files are left beside the output")
    threads = begun["hardware"]["threads"]
    whole = once(folder, f"whole-{_ROWS}-{threads}.tsv", lambda new: _predict_here(run, rows, new, threads))
    check(out.read_bytes() == whole.read_bytes(), "the output differs from that of one process")


killed_ray = Experiment(
    23,
    "prediction of 1,000,000 rows on a Ray cluster with two workers: two SIGKILLs of workers, then one of the command, "
    "which is run again; the output is byte-for-byte that of one process",
    20,
    0,  # the test suite has a test of its own for this promise
    _killed,
)
