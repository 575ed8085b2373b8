"""A replacement for a training run that takes no time and writes the same files into its run folder.

Scores are a function of epoch, seed, number of adapters, and weight decay, whose default changes nothing. The learning
rate selects a fault: 1e6 is a loss that is not finite, 2e6 a kill by the system, 3e6 a long epoch, unless its progress
was saved before, and 4e6 too little memory.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

from mbert_cli.errors import MbertError, Stopped
from mbert_cli.machine import child_process, signals
from mbert_cli.ray import train_task as ray_task
from mbert_cli.recipe.reader import load
from mbert_cli.storage.commit_epoch import commit_epoch, commit_state
from mbert_cli.storage.metrics_file import EpochRecord, Seconds
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.training.pruning import Pruning, read_limits

COMMAND = [sys.executable, "-P", __file__]
NOT_FINITE, KILLED, SLOW, NO_MEMORY = 1e6, 2e6, 3e6, 4e6


def accuracy(epoch, seed, adapters, weight_decay=0.01):
    return 0.5 + epoch / 100 + seed / 500 + adapters / 20 - abs(weight_decay - 0.01)


def record_of(recipe, epoch, hardware):
    value = accuracy(epoch, recipe.training.seed, len(recipe.adapters), recipe.training.weight_decay)
    tasks = {
        name: {"main_metric": "pearson" if name == "near" else "accuracy", "accuracy": value, "pearson": value}
        for name in recipe.tasks
    }
    return EpochRecord(
        epoch=epoch,
        step=10 * epoch,
        phases="simultaneous",
        rows={},
        tokens=0,
        train_loss={},
        tasks=tasks,
        overall=value,
        best=True,
        parameters={"encoder": 1000, "adapters": 10 * len(recipe.adapters), "all": 1100},
        hardware=hardware,
        seconds=Seconds(30.0, 1.0),
    )


def write_text(text):
    return lambda folder: (folder / "a.txt").write_text(text)


def train(recipe, folder, resume, force, threads, hardware, limits=()):
    with locked(folder, resume=resume, force=force):
        if not resume:
            folder.clear()
        folder.write_recipe(recipe.to_yaml())
        print(f"threads {threads or 'free'}", flush=True)
        pruning = Pruning(dict(limits), folder)
        for epoch in range(len(folder.read_metrics()) + 1, recipe.training.epochs + 1):
            rate = recipe.training.learning_rate
            if rate == NOT_FINITE:
                print("the loss is nan", file=sys.stderr, flush=True)
                raise SystemExit(5)
            if rate == NO_MEMORY:
                print("out of memory", file=sys.stderr, flush=True)
                raise SystemExit(4)
            if rate == KILLED:
                raise SystemExit(-signal.SIGKILL)  # as subprocess reports it
            if rate == SLOW:
                wait(folder, epoch)
            with signals.deferred():
                best = write_text("model"), write_text("evaluation")
                record = record_of(recipe, epoch, hardware)
                pruning.note(record)
                pruned = pruning.is_due and epoch < recipe.training.epochs
                record = replace(record, ended="pruned" if pruned else None)
                commit_epoch(folder, record, write_text("state"), 2, best)
            print(f"epoch {epoch}", flush=True)
            if pruned:
                return


def wait(folder, epoch):
    """Wait for a long time, unless a saved state exists. A signal saves one."""
    state = folder.states / f"epoch-{epoch - 1:04d}-step-00000001"
    if state.exists():
        return
    print(f"waiting in epoch {epoch}", flush=True)
    try:
        time.sleep(60)
    except Stopped as stop:
        signals.ignore_further_signals()
        commit_state(folder, epoch - 1, 1, write_text("progress"), 2)
        print(f"{folder.path}: stopped, saved.", file=sys.stderr, flush=True)
        raise SystemExit(stop.exit_code) from None


def main(words, threads):
    assert words[0] == "train"
    assert words[2] == "-o"
    recipe = load(Path(words[1]), [word for word in words[4:] if "=" in word], lambda *_: [])
    hardware = {key: words[words.index(f"--{key}") + 1] for key in ("device", "precision")}
    limits = read_limits(Path(words[words.index("--prune-below") + 1])) if "--prune-below" in words else {}
    try:
        train(recipe, RunFolder(Path(words[3])), "--resume" in words, "--force" in words, threads, hardware, limits)
    except MbertError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def train_task(words, threads, log):
    """Do what `mbert_cli.ray.train_task.train` does, on a Ray cluster, with a stand-in as the training process."""
    before, child_process.MBERT = child_process.MBERT, COMMAND
    try:
        return ray_task.train(words, threads, log)
    finally:
        child_process.MBERT = before


class Process(subprocess.Popen):
    """A training that runs in this process and has ended when it is returned."""

    def __init__(self, words, threads, log):
        self.returncode = 0
        with open(os.dup(log), "w") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                main(words, threads)
            except SystemExit as end:
                self.returncode = end.code

    def poll(self):
        return self.returncode

    wait = poll

    def send_signal(self, number):
        raise AssertionError("it has ended")


if __name__ == "__main__":
    signals.listen()
    main(sys.argv[1:], os.environ.get("OMP_NUM_THREADS"))
