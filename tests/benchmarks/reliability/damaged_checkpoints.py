"""Files of saved models, states and encoder checkpoints with random damage."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from experiment import Experiment, check, once
from outcomes import refusal
from processes import recipe_of, train_here

from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.encoder.location import WEIGHTS
from mbert_cli.errors import CheckpointError
from mbert_cli.model.saved_model import read_model
from mbert_cli.storage.atomic import MANIFEST, check_folder, sha256_of
from mbert_cli.storage.run_folder import RunFolder


def trained_run(folder: Path) -> Path:
    """Return the folder of a tiny run with a model and two states. All trials share it."""
    recipe = recipe_of(folder)
    return once(folder, "trained", lambda new: train_here(recipe, new, []))


def _damage(rng: random.Random, folder: Path, path: Path) -> list[Path]:
    """Damage a file in a folder. Return the changed files."""
    data = path.read_bytes()
    at = rng.randrange(len(data))
    other = rng.randbytes(rng.choice([1, 4, 64]))
    kinds: list[Callable[[], bytes | None]] = [
        lambda: data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        lambda: data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        lambda: data[:at],
        lambda: data + other,
        lambda: data[:at] + other + data[at:],
        lambda: data[:at] + bytes(len(data) - at),
        lambda: data[:at] + data[at + len(other) :],
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: b"",
        lambda: None,
    ]
    if rng.random() < 0.2:
        others = [each for each in _files(folder) if each.read_bytes() != data]
        swapped = rng.choice(others)
        path.write_bytes(swapped.read_bytes())
        swapped.write_bytes(data)
        return [path, swapped]
    damaged = data
    while damaged == data:
        damaged = rng.choice(kinds)()
    path.unlink() if damaged is None else path.write_bytes(damaged)
    return [path]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check_named(error: Exception | None, changed: list[Path], files: list[Path]) -> None:
    """Check that an error names a changed file. If a manifest changed, it may name any listed file."""
    named = files if any(path.name == MANIFEST for path in changed) else changed
    check(isinstance(error, CheckpointError), f"{changed} accepted, or another error: {error!r}")
    check(any(f"{path}: " in str(error) for path in named), f"{changed} is not named but: {error}")


def _damaged_model(rng: random.Random, folder: Path) -> None:
    model = shutil.copytree(trained_run(folder) / "model", folder / "run" / "model")
    files = _files(model)
    changed = _damage(rng, model, rng.choice(files))
    _check_named(refusal(lambda: read_all(folder / "run")), changed, files)


def read_all(run: Path) -> None:
    """Read a model with all its tasks, as `mbert predict` reads them."""
    model = read_model(run).model
    for name in model.task_names:
        model.head(name)


def _damaged_state(rng: random.Random, folder: Path) -> None:
    shutil.copytree(trained_run(folder) / "state", folder / "run" / "state")
    run = RunFolder(folder / "run")
    newest, _ = run.newest_state()
    assert newest is not None
    files = _files(newest)
    changed = _damage(rng, newest, rng.choice(files))
    _check_named(refusal(lambda: check_folder(newest)), changed, files)
    older, problems = run.newest_state()
    check(older is not None and older != newest, "the previous state is not used")
    _check_named(CheckpointError(*problems), changed, files)


def _damaged_encoder(rng: random.Random, folder: Path) -> None:
    """Damage weights whose SHA-256 a recipe pins."""
    checkpoint = shutil.copytree(recipe_of(folder).parent / "checkpoint", folder / "checkpoint")
    shape, pinned = read_shape(checkpoint), sha256_of(checkpoint / WEIGHTS)
    changed = _damage(rng, checkpoint, checkpoint / WEIGHTS)
    error = refusal(lambda: load_encoder(checkpoint, shape, pinned))
    check(isinstance(error, CheckpointError), f"{changed} accepted, or another error: {error!r}")
    check(WEIGHTS in str(error), f"{WEIGHTS} is not named but: {error}")


def _damaged(rng: random.Random, folder: Path) -> None:
    rng.choice([_damaged_model, _damaged_model, _damaged_state, _damaged_state, _damaged_encoder])(rng, folder)


damaged_checkpoints = Experiment(
    11,
    "a file of a saved model, a state or a pinned checkpoint is changed, cut, extended, swapped or removed: exit code "
    "2, and the message names the file",
    5_000,
    200,
    _damaged,
)
