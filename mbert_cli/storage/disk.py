"""What the system says when it cannot write, in words that a user can act on; no torch here."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mbert_cli.errors import MbertError, ResourceError, UsageError


@contextmanager
def disk_errors(path: Path, remedy: str = "run the command again (a training with --resume)") -> Iterator[None]:
    """Turn the system's refusals to write into errors that a user can mend.

    Args:
        path: what is being written.
        remedy: what to do once there is space.

    Raises:
        ResourceError: the disk is full, or failed.
        UsageError: the place cannot be written to.
    """
    try:
        yield
    except SafetensorError as error:
        # safetensors wraps the system's error in its message.
        match = re.search(r"os error (\d+)", str(error))
        if match is None:
            raise
        raise _explained(path, int(match[1]), remedy) or error from None
    except OSError as error:
        raise _explained(path, error.errno, remedy) or error from None


def resource_error(place: str | Path, code: int | None, remedy: str) -> ResourceError | None:
    """Return the error that says which resource has run out, or failed; None where the system means something else.

    Args:
        place: what is being read or written.
        code: the system's `errno`.
        remedy: what to do afterwards.
    """
    if code in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"{place}: the disk is full; free some space and {remedy}.")
    if code == errno.EFBIG:
        return ResourceError(f"{place}: is larger than a file may be here; raise the limit (ulimit -f) and {remedy}.")
    if code == errno.EIO:
        return ResourceError(f"{place}: the disk reports an error ({os.strerror(code)}); repair it and {remedy}.")
    if code in (errno.EMFILE, errno.ENFILE):
        return ResourceError(f"{place}: too many files are open; raise the limit (ulimit -n) and {remedy}.")
    if code == errno.ENOMEM:
        return ResourceError(f"{place}: out of memory; free some and {remedy}.")
    return None


def _explained(path: Path, code: int | None, remedy: str) -> MbertError | None:
    if found := resource_error(path, code, remedy):
        return found
    if code in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
        return UsageError(f"{path}: cannot be written ({os.strerror(code)}); choose another place.")
    return None
