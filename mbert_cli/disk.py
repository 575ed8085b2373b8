"""What the system says when it cannot write, in words that a user can act on; no torch here."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mbert_cli.errors import ResourceError, UsageError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write into errors that a user can mend.

    Raises:
        ResourceError: the disk is full, or failed.
        UsageError: the place cannot be written to.
    """
    try:
        yield
    except SafetensorError as error:
        # safetensors wraps the system's error in its message.
        if "os error 28" in str(error):
            raise ResourceError(f"{path}: the disk is full; free some space and continue with --resume.") from None
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{path}: the disk is full; free some space and continue with --resume.") from None
        if error.errno == errno.EIO:
            raise ResourceError(f"{path}: the disk reports an error ({error.strerror}).") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another place.") from None
        raise
