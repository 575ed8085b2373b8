"""Pickles that write a file when they are opened, as files of a checkpoint, a model or a state."""

import io
import json
import pickle
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from damaged_checkpoints import read_all, trained_run
from experiment import Chance, Experiment, check
from outcomes import refusal
from processes import recipe_of

from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.atomic import MANIFEST, commit_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.terminal.console import Console
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions

# Pickles are added beside valid files or replace one of them. If a pickle replaces the weights of a checkpoint, the
# valid weights are removed.
_IN_A_CHECKPOINT = [
    "pytorch_model.bin",
    "model.pt",
    "model.pth",
    "model.ckpt",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-00001-of-00001.safetensors",
    "config.json",
    "tokenizer.json",
    "vocab.txt",
]
_IN_A_MODEL = [
    "config.json",
    "encoder/config.json",
    "encoder/model.safetensors",
    "encoder/tokenizer.json",
    "tasks/mood.safetensors",
    "tasks/same.safetensors",
    MANIFEST,
]
_IN_A_STATE = ["encoder/model.safetensors", "tasks/mood.safetensors", "optimizer.safetensors", "state.json", MANIFEST]


class _WritesCanary:
    """An object that writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path(self.canary),)


def _malicious(rng: random.Random, canary: Path) -> bytes:
    """Return a pickle of a random protocol, plain or in the format of PyTorch or NumPy."""
    value, file = _WritesCanary(canary), io.BytesIO()
    form = rng.choice(["bare", "bare", "torch", "old torch", "numpy"])
    if form == "bare":
        pickle.dump(value, file, protocol=rng.randrange(6))
    elif form == "numpy":
        np.save(file, np.array([value], dtype=object), allow_pickle=True)
    else:
        torch.save({"weight": value}, file, _use_new_zipfile_serialization=form == "torch")
    return file.getvalue()


@contextmanager
def _nothing_is_unpickled(canary: Path) -> Iterator[None]:
    """Raise `Broken` if the block opens a pickle."""
    with ExitStack() as stack:
        patched = [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load"), (np, "load")]
        calls = {name: stack.enter_context(mock.patch.object(of, name)) for of, name in patched}
        yield
    called = [name for name, call in calls.items() if call.called]
    check(not called, f"{called} was called")
    check(not canary.exists(), "the canary was written")


def _train(recipe: Path, run: Path, resume: bool = False) -> None:
    # Numba reads its cache of compiled loops with pickle.
    hardware = choose("cpu", "fp32", kernels="torch")
    folder = RunFolder(run)
    with locked(folder, resume):
        prepare(load_recipe(str(recipe)), folder, RunOptions(hardware, Console(quiet=True), resume))


def _in_a_checkpoint(rng: Chance, trial: Path, folder: Path, canary: Path) -> None:
    tiny = shutil.copytree(recipe_of(trial).parent, folder / "tiny")
    name = _IN_A_CHECKPOINT[rng.index % len(_IN_A_CHECKPOINT)]
    checkpoint = tiny / "checkpoint"
    if name.startswith(("pytorch_model", "model")):
        (checkpoint / "model.safetensors").unlink()
    if name == "vocab.txt":
        (checkpoint / "tokenizer.json").unlink()
    if name == "model-00001-of-00001.safetensors":
        index = {"weight_map": {"embeddings.word_embeddings.weight": name}}
        (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    (checkpoint / name).write_bytes(_malicious(rng, canary))
    with _nothing_is_unpickled(canary):
        error = refusal(lambda: _train(tiny / "recipe.yaml", folder / "run"))
    check(error is not None, f"{name} was accepted")


def _beside_a_checkpoint(rng: Chance, trial: Path, folder: Path, canary: Path) -> None:
    tiny = shutil.copytree(recipe_of(trial).parent, folder / "tiny")
    for name in _IN_A_CHECKPOINT:
        path = tiny / "checkpoint" / name
        if not path.exists():
            path.write_bytes(_malicious(rng, canary))
    with _nothing_is_unpickled(canary):
        error = refusal(lambda: _train(tiny / "recipe.yaml", folder / "run"))
    check(error is None, f"a pickle beside the checkpoint causes an error: {error}")


def _replaced(rng: Chance, source: Path, to: Path, name: str, canary: Path) -> None:
    """Copy a committed folder, replace one file by a pickle, and write a manifest with its hash."""

    def write(new: Path) -> None:
        shutil.copytree(source, new, dirs_exist_ok=True)
        (new / MANIFEST).unlink()
        if name != MANIFEST:
            (new / name).write_bytes(_malicious(rng, canary))

    to.parent.mkdir(parents=True, exist_ok=True)
    commit_folder(to, write)
    if name == MANIFEST:
        (to / name).write_bytes(_malicious(rng, canary))


def _in_a_model(rng: Chance, trial: Path, folder: Path, canary: Path) -> None:
    name = _IN_A_MODEL[rng.index % len(_IN_A_MODEL)]
    _replaced(rng, trained_run(trial) / "model", folder / "run" / "model", name, canary)
    with _nothing_is_unpickled(canary):
        error = refusal(lambda: read_all(folder / "run"))
    check(error is not None, f"{name} was accepted")


def _in_a_state(rng: Chance, trial: Path, folder: Path, canary: Path) -> None:
    run = folder / "run"
    newest, _ = RunFolder(shutil.copytree(trained_run(trial), run)).newest_state()
    assert newest is not None
    name = _IN_A_STATE[rng.index % len(_IN_A_STATE)]
    source = newest.rename(folder / "source")
    shutil.rmtree(run / "state")
    _replaced(rng, source, newest, name, canary)
    with _nothing_is_unpickled(canary):
        error = refusal(lambda: _train(recipe_of(trial), run, resume=True))
    check(error is not None, f"{name} was accepted")


def _pickled(rng: Chance, folder: Path) -> None:
    canary = folder / "canary"
    for place in (_in_a_checkpoint, _beside_a_checkpoint, _in_a_model, _in_a_state):
        (folder / place.__name__).mkdir()
        place(rng, folder, folder / place.__name__, canary)


malicious_pickles = Experiment(
    12,
    "malicious pickles as files of a checkpoint, a model and a state, with matching hashes: never opened, exit code 2",
    50,
    12,
    _pickled,
)
