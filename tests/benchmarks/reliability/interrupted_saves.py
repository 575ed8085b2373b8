"""Saves that end at any of their writes, because the process dies or the disk reports an error.

    python interrupted_saves.py CALL RUN RECIPE SETTING...

trains like `mbert train`, in a process that dies before its CALL-th change of the disk. If CALL is a multiple of three,
the file that is being written is left half written.
"""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run

from crashes import contents
from experiment import Broken, Chance, Experiment, check, once
from processes import recipe_of, train_here
from safetensors import SafetensorError

import mbert_cli.encoder.checkpoint
import mbert_cli.model.tensor_files
from mbert_cli.errors import ResourceError
from mbert_cli.model.saved_model import read_model
from mbert_cli.storage.atomic import committed
from mbert_cli.storage.run_folder import RunFolder

_SETTINGS = ["training.state_every=5"]
# All calls that change the disk, except for those before the run is locked.
_CALLS = [
    *((os, name) for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")),
    (Path, "write_text"),
    (shutil, "copyfile"),
    (mbert_cli.model.tensor_files, "save_file"),
    (mbert_cli.encoder.checkpoint, "save_file"),
]
_CHANGES = 195  # number of such calls in this training run
_DIED = 9


@contextmanager
def watched(interrupt: Callable[[int, str, tuple[object, ...]], None]) -> Iterator[None]:
    """Call `interrupt` with number, name and arguments before each change of the disk within the block."""
    made = 0

    def asking(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal made
            made += 1
            interrupt(made, name, arguments)
            return real(*arguments, **options)

        return call

    reals = [(owner, name, getattr(owner, name)) for owner, name in _CALLS]
    for owner, name, real in reals:
        setattr(owner, name, asking(name, real))
    try:
        yield
    finally:
        for owner, name, real in reals:
            setattr(owner, name, real)


def leave_half(name: str, arguments: tuple[object, ...]) -> None:
    """If the call writes a file, write half of it."""
    if name == "write_text":
        text = str(arguments[1])
        with open(str(arguments[0]), "w", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
    if name == "copyfile":
        data = Path(str(arguments[0])).read_bytes()
        Path(str(arguments[1])).write_bytes(data[: len(data) // 2])
    if name == "save_file":
        Path(str(arguments[1])).write_bytes(b"\x10\0\0\0\0\0\0\0{")


def _check_loads(folder: RunFolder) -> None:
    """Check that the newest state is complete, and the model, if it exists."""
    _, problems = folder.newest_state()
    check(not problems, f"the newest state is damaged: {problems}")
    if committed(folder.model) is not None:
        read_model(folder.path)


def _whole(folder: Path) -> Path:
    return once(folder, "uninterrupted", lambda new: train_here(recipe_of(folder), new, _SETTINGS))


def _resumed_is_whole(folder: Path, interrupted: Path) -> None:
    train_here(recipe_of(folder), interrupted, _SETTINGS, resume=RunFolder(interrupted).holds_a_run())
    whole, found = contents(_whole(folder)), contents(interrupted)
    # An old state that could not be removed may remain.
    states = {Path(name).parent for name in whole}
    found = {name: each for name, each in found.items() if Path(name).parent in states}
    different = [name for name in sorted({*whole, *found}) if whole.get(name) != found.get(name)]
    check(not different, f"differ from the uninterrupted run: {different}")


def _killed(chance: Chance, folder: Path) -> None:
    interrupted = folder / "run"
    words = [sys.executable, __file__, str(chance.index + 1), str(interrupted), str(recipe_of(folder)), *_SETTINGS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = run(words, capture_output=True, text=True, check=False, env=environment)
    check(ended.returncode in (0, _DIED), f"exit code {ended.returncode}: {ended.stderr}")
    _check_loads(RunFolder(interrupted))
    _resumed_is_whole(folder, interrupted)


def _refused(chance: Chance, folder: Path) -> None:
    interrupted, recipe = folder / "run", recipe_of(folder)
    code, number = (errno.ENOSPC, errno.EIO)[chance.index % 2], chance.index // 2 + 1

    def refuse(made: int, name: str, arguments: tuple[object, ...]) -> None:
        if made == number:
            leave_half(name, arguments)
            if name == "save_file":
                raise SafetensorError(f"Error while serializing: I/O error: {os.strerror(code)} (os error {code})")
            raise OSError(code, os.strerror(code))

    with watched(refuse):
        try:
            train_here(recipe, interrupted, _SETTINGS)
        except ResourceError as error:
            check(error.exit_code == 4, f"exit code {error.exit_code}")
            check("disk" in str(error), str(error))
        except Exception as error:
            raise Broken(f"not an error of the disk: {error!r}") from error
    _check_loads(RunFolder(interrupted))
    _resumed_is_whole(folder, interrupted)


death_in_a_save = Experiment(
    13, "the process dies before one of the writes, fsyncs, renames or removals of a run: the last state and the model "
    "load, and the resumed run is byte-for-byte identical", _CHANGES, 2, _killed,
)  # fmt: skip
refusal_in_a_save = Experiment(
    14,
    "no space (ENOSPC) or a failing disk (EIO) at one of these calls: exit code 4, and the same checks",
    2 * _CHANGES,
    2,
    _refused,
)


def _die(made: int, name: str, arguments: tuple[object, ...]) -> None:
    if made == int(sys.argv[1]):
        if made % 3 == 0:
            leave_half(name, arguments)
        os._exit(_DIED)


if __name__ == "__main__":
    with watched(_die):
        train_here(Path(sys.argv[3]), Path(sys.argv[2]), sys.argv[4:])
