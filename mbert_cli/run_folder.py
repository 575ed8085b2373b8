"""Everything about the files of a run: model, state, metrics, the lock, and commits that a crash cannot spoil.

    runs/x/
      recipe.yaml        the resolved recipe
      metrics.jsonl      one line an epoch
      model/             the best model: all that evaluate and predict need
      evaluation/        what it scored and predicted on the dev files
      figures/           both drawn, when the run has ended
      state/epoch-0003/  what --resume needs, one folder a finished epoch, the newest kept

A folder of files is committed whole: it is written beside its place under a name that nobody reads, forced to disk,
and renamed. `manifest.json` in it holds the SHA-256 of every other file, so that a damaged one is known.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mbert_cli.disk import disk_errors
from mbert_cli.encoder.checkpoint import sha256_of
from mbert_cli.errors import CheckpointError, RunInUseError, UsageError
from mbert_cli.metrics_file import METRICS_FILE, read_metrics

MANIFEST = "manifest.json"
_STATES_KEPT = 2
_NEW = ".new"
_OLD = ".old"


class RunFolder:
    """The folder of one run.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.metrics_file = path / METRICS_FILE
        self.model = path / "model"
        self.evaluation = path / "evaluation"
        self.figures = path / "figures"
        self.states = path / "state"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes, creating it if need be.

        Raises:
            RunInUseError: another process holds it.
        """
        made = [each for each in (self.path, *self.path.parents) if not each.exists()]
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise RunInUseError(
                    f"{self.path} is in use by another mbert; wait for it to end, or choose another -o."
                ) from None
        try:
            yield
        finally:
            lock.release()
            # A run that was refused before it wrote anything leaves no folder behind.
            if [each.name for each in self.path.iterdir()] in ([], [".lock"]):
                shutil.rmtree(self.path)
                for each in made[1:]:
                    with suppress(OSError):  # somebody put a file there meanwhile
                        each.rmdir()

    def holds_a_run(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe_file.exists() or self.model.exists() or self.states.exists()

    def check_free(self, resume: bool, force: bool) -> None:
        """Check that a run may begin, or go on, here.

        Raises:
            UsageError: there is a run and neither resume nor force; or resume without a run; or files of others.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; choose another -o.")
        if self.holds_a_run():
            if not (resume or force):
                raise UsageError(
                    f"{self.path} exists and holds a run; continue it with --resume, or replace it with --force."
                )
        elif resume:
            raise UsageError(f"{self.path} holds no run to resume; leave out --resume to begin one.")
        elif self.path.exists() and any(each.name != ".lock" for each in self.path.iterdir()):
            raise UsageError(f"{self.path} is not empty and holds no run; choose another -o.")

    def clear(self) -> None:
        """Remove the run that was here, and nothing else."""
        for each in (self.model, self.evaluation, self.figures, self.states):
            for folder in (each, _beside(each, _NEW), _beside(each, _OLD)):
                shutil.rmtree(folder, ignore_errors=True)
        for file in (self.metrics_file, self.recipe_file):
            file.unlink(missing_ok=True)

    def write_recipe(self, text: str) -> None:
        """Write recipe.yaml."""
        replace_file(self.recipe_file, text)

    def append_metrics(self, line: Mapping[str, Any], epoch: int) -> None:
        """Write the line of an epoch after those of the epochs before it.

        Lines of this and later epochs, left by a process that died between this and the commit of its state, go.
        """
        kept = [each for each in self.read_metrics() if each["epoch"] < epoch]
        replace_file(self.metrics_file, "".join(json.dumps(each) + "\n" for each in [*kept, line]))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl."""
        return read_metrics(self.metrics_file)

    def save_state(self, epoch: int, write: Callable[[Path], None]) -> None:
        """Commit the state after an epoch, then drop states older than the one before it.

        Args:
            epoch: the epoch that was finished.
            write: writes the state's files into a folder.
        """
        with disk_errors(self.path):
            self.states.mkdir(exist_ok=True)
        commit_folder(self.states / f"epoch-{epoch:04d}", write)
        for old in self._state_folders()[_STATES_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def newest_state(self) -> tuple[Path | None, list[str]]:
        """Return the newest state whose files are whole, and the problems of newer ones that are not."""
        problems = []
        for folder in self._state_folders():
            try:
                check_folder(folder)
            except CheckpointError as error:
                problems.append(str(error))
            else:
                return folder, problems
        return None, problems

    def _state_folders(self) -> list[Path]:
        found = [each for each in self.states.glob("epoch-*") if each.suffix not in (_NEW, _OLD)]
        return sorted(found, key=lambda each: each.name, reverse=True)

    def model_folder(self) -> Path:
        """Return the folder of the saved model: `model/`, or this folder itself where it is one.

        Raises:
            CheckpointError: there is none, or a file of it was altered.
        """
        candidates = (self.model, _beside(self.model, _OLD), self.path)
        folder = next((each for each in candidates if (each / MANIFEST).is_file()), None)
        if folder is None:
            if not self.path.is_dir():
                raise CheckpointError(f"{self.path}: there is no such run folder; mbert train writes one with -o.")
            raise CheckpointError(f"{self.path}: holds no model; no epoch of this run has ended yet.")
        check_folder(folder)
        return folder


def commit_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Put a folder in place so that a crash at any moment leaves the old or the new one to be found.

    1. Write the files and their manifest into `NAME.new`, and force them to disk.
    2. Rename the present folder, if any, to `NAME.old`.
    3. Rename `NAME.new` to `NAME`; force the parent to disk.
    4. Remove `NAME.old`.

    A crash before 3 leaves `NAME` or `NAME.old` whole; a crash after it leaves `NAME`.

    Args:
        folder: its place.
        write: writes the files into the folder it is given.

    Raises:
        ResourceError: the disk is full.
    """
    new, old = _beside(folder, _NEW), _beside(folder, _OLD)
    with disk_errors(folder):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        write(new)
        files = sorted(path for path in new.rglob("*") if path.is_file())
        manifest = {path.relative_to(new).as_posix(): sha256_of(path) for path in files}
        (new / MANIFEST).write_text(json.dumps({"sha256": manifest}, indent=2) + "\n", encoding="utf-8")
        for path in (*files, new / MANIFEST, *(path for path in new.rglob("*") if path.is_dir()), new):
            _sync(path)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Put a folder in place among the user's own: nothing beside it is touched, and a failure leaves the old one.

    Args:
        folder: its place; what is there is replaced. Its parent exists.
        write: writes the files into the folder it is given.

    Raises:
        ResourceError: the disk is full.
        UsageError: the place cannot be written to.
    """
    folder = folder.resolve()
    with disk_errors(folder):
        own = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            commit_folder(own / "new", write)
            if folder.exists():
                folder.rename(own / "old")
            (own / "new").rename(folder)
            _sync(folder.parent)
        except BaseException:
            if (own / "old").exists() and not folder.exists():
                (own / "old").rename(folder)
            raise
        finally:
            shutil.rmtree(own, ignore_errors=True)


def holds_only_what_was_committed(folder: Path) -> bool:
    """Whether every file of a folder stands in the manifest that `commit_folder` wrote for it."""
    if not (folder / MANIFEST).is_file():
        return False
    known = {MANIFEST, *read_json(folder / MANIFEST).get("sha256", {})}
    return all(path.relative_to(folder).as_posix() in known for path in folder.rglob("*") if not path.is_dir())


def check_folder(folder: Path) -> None:
    """Check the SHA-256 of every file of a committed folder.

    Raises:
        CheckpointError: a file is missing or altered.
    """
    for name, expected in read_json(folder / MANIFEST).get("sha256", {}).items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path}: is missing; copy the folder again, or train anew.")
        actual = sha256_of(path)
        if actual != expected:
            raise CheckpointError(f"{path}: was altered: its sha256 is {actual}, but {expected} is expected.")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: must hold a JSON object.")
    return found


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: it is missing or not whole.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is not a whole safetensors file ({error}).") from None


def load_tensors(module: nn.Module, path: Path) -> None:
    """Load a safetensors file into a module that it must fit exactly.

    Raises:
        CheckpointError: it is missing or not whole, or holds other names or shapes (the first five).
    """
    found, wanted = read_tensors(path), module.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is not known" for name in found if name not in wanted]
    wrong += [
        f"{name} is {list(found[name].shape)}, expected {list(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(f"{path}: does not fit the model: {'; '.join(wrong[:5])}{more}.")
    module.load_state_dict(found)


def replace_file(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the old or the new one."""
    new = _beside(path, _NEW)
    with disk_errors(path):
        new.write_text(text, encoding="utf-8")
        _sync(new)
        new.replace(path)
        _sync(path.parent)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
