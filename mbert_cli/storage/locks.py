"""Locks between processes. The system releases a lock when the process that holds it dies."""

from pathlib import Path

import filelock

from mbert_cli.errors import RunInUseError

LOCK_FILE = ".lock"
"""The name of the lock file in the folder of a run or sweep."""


def take_lock(file: Path, in_use: str) -> filelock.BaseFileLock:
    """Take a lock, without waiting. The caller releases it.

    Args:
        file: the lock file; its folder exists.
        in_use: the message if another process holds the lock.

    Raises:
        RunInUseError: another process holds the lock.
    """
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunInUseError(in_use) from None
    return lock
