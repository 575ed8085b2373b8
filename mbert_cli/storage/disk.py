"""Errors of the operating system while writing, turned into messages with a remedy.

Must not import torch: fast start-up.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mbert_cli.errors import MbertError, ResourceError, UsageError


@contextmanager
def disk_errors(path: Path, remedy: str = "run the command again (training: with --resume)") -> Iterator[None]:
    """Replace errors of the operating system in a block by errors with a remedy.

    Args:
        path: the file or folder that the block writes.
        remedy: what to do once there is space again.

    Raises:
        ResourceError: the disk is full, or it fails.
        UsageError: the path is not writable.
    """
    try:
        yield
    except SafetensorError as error:
        # safetensors puts the system's error number into its message.
        match = re.search(r"os error (\d+)", str(error))
        if match is None:
            raise
        raise _explained(path, int(match[1]), remedy) or error from None
    except OSError as error:
        raise _explained(path, error.errno, remedy) or error from None


def resource_error(place: str | Path, code: int | None, remedy: str) -> ResourceError | None:
    """Return the error for a resource that has run out or fails; None if the code has another cause.

    Args:
        place: the file or folder that is read or written.
        code: the system's `errno`.
        remedy: what to do afterwards.
    """
    if code in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"{place}: the disk is full; free some space and {remedy}.")
    if code == errno.EFBIG:
        return ResourceError(f"{place}: is larger than the limit for files; raise it (ulimit -f) and {remedy}.")
    if code == errno.EIO:
        return ResourceError(f"{place}: the disk reports an error ({os.strerror(code)}); repair it and {remedy}.")
    if code in (errno.EMFILE, errno.ENFILE):
        return ResourceError(f"{place}: too many files are open; raise the limit (ulimit -n) and {remedy}.")
    if code == errno.ENOMEM:
        return ResourceError(f"{place}: out of memory; free some and {remedy}.")
    return None


def _explained(path: Path, code: int | None, remedy: str) -> MbertError | None:
    if error := resource_error(path, code, remedy):
        return error
    if code in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
        return UsageError(f"{path}: cannot be written ({os.strerror(code)}); choose another path.")
    return None
