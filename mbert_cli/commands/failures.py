"""What ended a command, as one line and an exit code: the only place where errors of any kind become either."""

import errno
import sys
from collections.abc import Iterator

from mbert_cli.errors import MbertError, ResourceError, UsageError, is_out_of_memory
from mbert_cli.machine import signals

# Of files that a user named, or whose folder a user named. Any other number is a mistake of ours, with a traceback.
_OF_PLACES = (
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
    """Return the message and the exit code of what ended a command; None for an internal error.

    Args:
        error: what was raised. Where a library wrapped it in an error of its own, its causes count, too.
    """
    if isinstance(error, MbertError):
        return "\n".join(error.problems), error.exit_code
    if stop := signals.stopped_by(error):
        return str(stop), stop.exit_code
    parser = sys.modules.get("typer.exceptions")
    if parser is not None and isinstance(error, parser.TyperException):
        from mbert_cli.commands.mistakes import mistake

        return mistake(error), UsageError.exit_code
    found = next(filter(None, map(_of_resources, _causes(error))), None) or _of_places(error)
    return None if found is None else ("\n".join(found.problems), found.exit_code)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, the outermost first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _of_resources(error: BaseException) -> MbertError | None:
    """Return the error that says what has run out, or failed; None where nothing did."""
    if is_out_of_memory(error):
        return ResourceError("out of memory; lower --batch-size, or free some memory.")
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.EAGAIN:
        return ResourceError(f"no more processes or threads can be started ({error.strerror}); raise the limit.")
    from mbert_cli.storage.disk import resource_error

    return resource_error(_name(error) or "a file", error.errno, "run the command again")


def _of_places(error: BaseException) -> MbertError | None:
    """Return the error that says which file or folder the system refuses; None for other errors.

    Only of what was raised last: its cause may have been expected, and a mistake of ours have followed.
    """
    if not isinstance(error, OSError) or not (place := _name(error)):
        return None
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(f"{place[:80]}...: is too long a name for the disk; choose a shorter one.")
    if error.errno in _OF_PLACES:
        return UsageError(f"{place}: cannot be used ({error.strerror}); choose another.")
    return None


def _name(error: OSError) -> str:
    name = error.filename
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
