"""Who may write to a run folder: the lock, and the check of what the folder already contains."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from mbert_cli.errors import RunInUseError, UsageError
from mbert_cli.storage.atomic import committed, finished
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import take_lock
from mbert_cli.storage.model_folder import model_folder
from mbert_cli.storage.run_folder import RunFolder


@contextmanager
def locked(run: RunFolder, resume: bool = False, force: bool = False) -> Iterator[None]:
    """Lock a run folder against other processes; create it if it does not exist.

    Args:
        run: the run folder.
        resume: see `check_free`.
        force: see `check_free`.

    Raises:
        RunInUseError: another process has locked it.
        UsageError: see `check_free`, which is called again under the lock.
    """
    check_free(run, resume, force)
    created = [each for each in (run.path, *run.path.parents) if not each.exists()]
    ours = bool(created)
    try:
        with disk_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = _take_lock(run, "wait for it to end, or choose another -o")
        except RunInUseError:
            ours = False
            raise
        ours = True
        try:
            check_free(run, resume, force)
            yield
        finally:
            lock.release()
    finally:
        if ours:
            _remove_if_empty(run, created)


def _remove_if_empty(run: RunFolder, created: list[Path]) -> None:
    """Remove the folders that a run has created, if it was refused or stopped before it wrote anything."""
    if run.path.is_dir() and [each.name for each in run.path.iterdir()] in ([], [run.lock_file.name]):
        shutil.rmtree(run.path)
        for each in created[1:]:
            with suppress(OSError):  # another program has put a file there
                each.rmdir()


def _take_lock(run: RunFolder, remedy: str) -> filelock.BaseFileLock:
    with disk_errors(run.path):
        return take_lock(run.lock_file, f"{run.path} is in use by another mbert; {remedy}.")


def in_use(run: RunFolder) -> bool:
    """Whether another process has locked a run folder.

    Raises:
        UsageError: the folder is not writable, so that the lock cannot be tried.
    """
    if not run.lock_file.exists():
        return False
    try:
        _take_lock(run, "wait for it to end").release()
    except RunInUseError:
        return True
    return False


@contextmanager
def model_locked(path: Path) -> Iterator[Path]:
    """Lock a saved model against further training and other changes; yield its folder.

    Args:
        path: a run folder, or the folder of a saved model.

    Raises:
        RunInUseError: another process has locked it.
        UsageError: it is not writable, or a part of its run is a symbolic link.
        CheckpointError: there is no model.
    """
    _check_links(RunFolder(path))
    folder = model_folder(path)
    run = RunFolder(folder.resolve().parent)
    # A model inside its run is locked with the run. A model that was copied elsewhere has a lock of its own.
    in_its_run = run.recipe_file.is_file() and committed(run.model) == folder.resolve()
    holder = run if in_its_run else RunFolder(folder)
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder}: is not writable; copy it to a place that is.")
    lock = _take_lock(holder, "wait for it to end")
    try:
        yield model_folder(path)
    finally:
        if not in_its_run:
            holder.lock_file.unlink(missing_ok=True)
        lock.release()


def check_free(run: RunFolder, resume: bool, force: bool) -> None:
    """Check that a run may start or continue in a folder.

    Args:
        run: the run folder; it need not exist.
        resume: continue the run that it contains.
        force: replace the run that it contains.

    Raises:
        UsageError: it contains a run, and neither resume nor force is set; or there is no run to resume; or it contains
            other files; or a part of the run is a symbolic link; or the folder is, or is inside, a part of another run.
    """
    if run.path.exists() and not run.path.is_dir():
        raise UsageError(f"{run.path} is a file; choose another -o.")
    _check_not_a_part(run)
    _check_links(run)
    if run.holds_a_run():
        if resume and not run.is_resumable():
            raise UsageError(
                f"{run.path} contains the metrics of a run, but no state to resume; replace them with --force, or "
                "choose another -o."
            )
        if not (resume or force):
            raise UsageError(
                f"{run.path} exists and contains a run; continue it with --resume, or replace it with --force."
            )
    elif resume:
        raise UsageError(f"{run.path} contains no run to resume; leave out --resume to start one.")
    elif run.path.exists() and not all(
        each in (run.lock_file, run.data_frames) or _is_incomplete_part(run, each) for each in run.path.iterdir()
    ):
        raise UsageError(f"{run.path} is not empty and contains no run; choose another -o.")


def _check_not_a_part(run: RunFolder) -> None:
    """Check that a folder is not a part of another run, such as its `model`, even if that run has no such part yet."""
    place = run.path.resolve()
    for parent in place.parents:
        outer = RunFolder(parent)
        part, *below = place.relative_to(parent).parts
        is_a_member = part == outer.members.name and len(below) == 1
        if parent / part in (*outer.folders, outer.data_frames) and not is_a_member and _was_started(outer):
            raise UsageError(f"{run.path} is a part of the run {parent}; choose another -o.")


def _was_started(run: RunFolder) -> bool:
    """Whether a folder contains a run. The recipe alone is not enough: other programs have files with the same name."""
    beside = (run.lock_file, run.states, run.metrics_file)
    return run.recipe_file.is_file() and any(each.exists() for each in beside)


def _check_links(run: RunFolder) -> None:
    for part in (*run.folders, *run.files, run.lock_file):
        if part.is_symlink():
            raise UsageError(
                f"{part}: is a symbolic link, but all parts of a run must be inside its folder. Replace the link with "
                "the file or folder it points to."
            )


def _is_incomplete_part(run: RunFolder, path: Path) -> bool:
    """Whether a path was left by a run that was killed before it had committed anything."""
    final = path.with_suffix("") if path.suffix == ".new" else finished(path)  # earlier versions wrote `NAME.new`
    return final != path and final in (*run.folders, *run.files)
