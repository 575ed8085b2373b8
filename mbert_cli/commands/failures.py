"""Messages and exit codes for all exceptions that end a command."""

import errno
import sys
from collections.abc import Iterator

from mbert_cli.errors import MbertError, ResourceError, UsageError, is_out_of_memory
from mbert_cli.machine import signals

# Errors of files and folders that the user named. Any other error number is an internal error, with a traceback.
_PATH_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ESTALE,
    errno.ETXTBSY,
)


def explain(error: BaseException) -> tuple[str, int] | None:
    """Return the message and the exit code for an exception; None for an internal error.

    Args:
        error: the exception. Its causes are examined as well, because libraries wrap exceptions in their own.
    """
    if isinstance(error, MbertError):
        return "\n".join(error.problems), error.exit_code
    if stop := signals.stopped_by(error):
        return str(stop), stop.exit_code
    parser = sys.modules.get("typer.exceptions")
    if parser is not None and isinstance(error, parser.TyperException):
        from mbert_cli.commands.mistakes import mistake

        return mistake(error), UsageError.exit_code
    ours = next(filter(None, map(_resource_error, _causes(error))), None) or _path_error(error)
    return None if ours is None else ("\n".join(ours.problems), ours.exit_code)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, the outermost first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _resource_error(error: BaseException) -> MbertError | None:
    """Return our error for a lack of memory, processes or disk space; None for any other exception."""
    if is_out_of_memory(error):
        return ResourceError(
            "out of memory; lower --batch-size (in training: raise training.accumulate), or free some memory."
        )
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.EAGAIN:
        return ResourceError(f"no more processes or threads can be started ({error.strerror}); raise the limit.")
    from mbert_cli.storage.disk import resource_error

    return resource_error(_name(error) or "a file", error.errno, "run the command again")


def _path_error(error: BaseException) -> MbertError | None:
    """Return our error for a file or folder that the system refuses; None for any other exception.

    Causes are not examined: an expected OSError may precede an internal error.
    """
    if not isinstance(error, OSError) or not (place := _name(error)):
        return None
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(f"{place[:80]}...: is longer than a file name may be; choose a shorter name.")
    if error.errno in _PATH_ERRORS:
        return UsageError(f"{place}: cannot be used ({error.strerror}); choose another path.")
    return None


def _name(error: OSError) -> str:
    name = error.filename
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
