"""Locks between processes: files that the system lets go of when whoever holds them dies."""

from pathlib import Path

import filelock

from mbert_cli.errors import RunInUseError


def take_lock(file: Path, in_use: str) -> filelock.BaseFileLock:
    """Take a lock at once, or not at all; whoever took it releases it.

    Args:
        file: the lock; its folder exists.
        in_use: what is said where another process holds it.

    Raises:
        RunInUseError: another process does.
    """
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunInUseError(in_use) from None
    return lock
