"""Trainings and predictions on the tests' tiny checkpoint, as processes that can be killed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import commands
import tiny
from experiment import check, once
from word_salad import sentences

from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import kinds, load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.terminal.console import Console
from mbert_cli.training.fit import fit
from mbert_cli.training.options import RunOptions

Process = commands.Started | subprocess.Popen[str]
HARDWARE = ("--device", "cpu", "--precision", "fp32")
_SIZES = {
    "houlsby": "rank: 3",
    "lora": "rank: 2",
    "low_rank": "rank: 4",
    "pal": "rank: 4, heads: 2",
    "prefix": "length: 3",
}


def make_recipe(folder: Path) -> None:
    """Write the tiny checkpoint, its files and a recipe into a new folder."""
    (folder / "files").mkdir(parents=True)
    tiny.write_checkpoint(folder / "checkpoint")
    tiny.write_files(folder / "files")
    # Relative paths, so that the folder can be renamed.
    tiny.write_recipe(folder / "recipe.yaml", Path("./checkpoint"), Path("./files"))


def recipe_of(folder: Path) -> Path:
    """Return the recipe that all trials share."""
    return once(folder, "tiny", make_recipe) / "recipe.yaml"


def adapter(kind: str) -> str:
    """Return an adapter in the syntax of overrides, with a size that fits the tiny checkpoint."""
    return f"{{kind: {kind}{', ' + _SIZES[kind] if kind in _SIZES else ''}}}"


def any_settings(rng: random.Random) -> list[str]:
    """Return random overrides of the tiny recipe: a curriculum, a loss balancing, one or two adapters."""
    adapters = ", ".join(adapter(kind) for kind in rng.sample(kinds("adapters"), rng.choice([1, 1, 2])))
    return [
        f"curriculum={rng.choice(kinds('curricula'))}",
        f"loss_balancing={rng.choice(kinds('loss_balancing'))}",
        f"adapters=[{adapters}]",
        f"training.schedule={rng.choice(['constant', 'linear'])}",
        f"training.seed={rng.randrange(1000)}",
    ]


def train_here(recipe: Path, run: Path, settings: list[str], resume: bool = False) -> None:
    """Train in this process, as `mbert train` does."""
    folder = RunFolder(run)
    with locked(folder, resume):
        options = RunOptions(choose("cpu", "fp32"), Console(quiet=True), resume)
        fit(load_recipe(str(recipe), settings), folder, options)


def start(*words: str | Path, patches: Mapping[str, object] = MappingProxyType({})) -> Process:
    """Start `mbert WORDS` in a process that is forked with PyTorch imported; see `commands`."""
    return commands.start(*words, patches=patches)


def start_python(*words: str | Path) -> Process:
    """Start `mbert WORDS` in a new Python, with its own hash seed."""
    command = [sys.executable, "-m", "mbert_cli.cli", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: Process, code: int = 0) -> str:
    """Wait for a process and check its exit code. Return its messages."""
    _, messages = process.communicate(timeout=300)
    check(process.returncode == code, f"exit code {process.returncode}, not {code}: {messages}")
    check("Traceback" not in messages, messages)
    return messages


def wait_until(true: Callable[[], bool], process: Process) -> bool:
    """Wait until a condition is true. Return False if the process ends first."""
    while not true():
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    return True


def kill(process: Process) -> None:
    """Kill a process with SIGKILL."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def kill_id(process: int) -> None:
    """Kill the process with an id with SIGKILL."""
    os.kill(process, signal.SIGKILL)


def write_sentences(path: Path, count: int, seed: int) -> Path:
    """Write a TSV file of sentences to predict."""
    rows = (f"{index}\t{text}\n" for index, text in enumerate(sentences(count, seed)))
    path.write_text("id\ttext\n" + "".join(rows), encoding="utf-8")
    return path
