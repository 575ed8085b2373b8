"""Output folders: checks before a command starts to compute, and atomic writes of its results."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.errors import UsageError
from mbert_cli.storage.atomic import commit_folder, holds_only_what_was_committed
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import LOCK_FILE, take_lock
from mbert_cli.storage.output_file import is_stream


@dataclass(frozen=True)
class OutputFolder:
    """A folder that a command writes. An existing one is replaced only if the same command wrote all its files.

    Args:
        path: the folder.
        force: replace a folder that exists.
        command: the command that writes it, for messages.
        is_ours: returns whether the command wrote a folder.
    """

    path: Path
    force: bool
    command: str
    is_ours: Callable[[Path], bool]

    def check(self) -> "OutputFolder":
        """Check that the folder can be written, before the command starts to compute. Return this object.

        Raises:
            RunInUseError: see `check_not_in_use`.
            UsageError: the folder must not be written.
        """
        path = self.path
        if is_stream(path):
            raise UsageError(f"{path}: is a stream, but this command writes a folder; name a folder.")
        parent = path.resolve().parent
        if os.path.exists(path) and not path.is_dir():
            raise UsageError(f"{path}: is a file; name a folder.")
        if not parent.is_dir():
            raise UsageError(f"{path}: there is no folder {parent}; create it first.")
        if not os.access(parent, os.W_OK):
            raise UsageError(f"{path}: the folder {parent} is not writable; choose another folder.")
        self._check_contents()
        check_not_the_working_folder(path, "name another folder")
        check_not_in_use(path)
        return self

    def write(self, write: Callable[[Path], None], like: Iterable[Path] = ()) -> None:
        """Write or replace the folder atomically. If it is inside a run folder, lock the run during the write.

        The run is not locked between `check` and `write`. So the contents of the folder are checked again under the
        lock, before they are replaced: another process may have written them since `check`.

        Args:
            write: see `commit_folder`.
            like: see `commit_folder`.

        Raises:
            ResourceError: the disk is full.
            RunInUseError: another process has locked a run that contains the folder.
            UsageError: the folder must not be replaced.
        """

        def write_and_check(at: Path) -> None:
            write(at)
            self._check_contents()

        with _runs_locked(self.path):
            commit_folder(self.path, write_and_check, like)

    def _check_contents(self) -> None:
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if not (holds_only_what_was_committed(self.path) and self.is_ours(self.path)):
            raise UsageError(f"{self.path}: contains files that {self.command} did not write; choose another folder.")
        if not self.force:
            raise UsageError(f"{self.path}: exists; replace it with --force, or choose another folder.")


def check_not_the_working_folder(path: Path, remedy: str) -> None:
    """Check that a folder that will be replaced is not the working folder, which the shell of the user would lose.

    Args:
        path: the folder.
        remedy: what the user can do instead, for the message.

    Raises:
        UsageError: it is the working folder.
    """
    if path.resolve() == Path.cwd():
        raise UsageError(f"{path}: is the working folder, which would be replaced; {remedy}.")


def check_not_in_use(path: Path) -> None:
    """Check that an output folder is not inside the folder of a run or sweep that another process uses.

    Raises:
        RunInUseError: another process uses a run or sweep that contains the folder.
    """
    with _runs_locked(path):
        pass


@contextmanager
def _runs_locked(path: Path) -> Iterator[None]:
    """Lock all runs and sweeps that contain a path: the folders with a lock file."""
    with ExitStack() as stack:
        for parent in path.resolve().parents:
            file = parent / LOCK_FILE
            if _is_lock(file):
                with disk_errors(parent):
                    lock = take_lock(
                        file, f"{path}: {parent} is in use by another mbert; wait for it to end, or choose another -o."
                    )
                stack.callback(lock.release)
        yield


def _is_lock(file: Path) -> bool:
    """Whether a path is a lock file of mbert. One with contents belongs to another program."""
    try:
        return file.is_file() and file.stat().st_size == 0
    except FileNotFoundError:  # removed after `is_file`
        return False
