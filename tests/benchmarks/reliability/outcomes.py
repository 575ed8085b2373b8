"""The outcome of an action: it succeeded, or it raised an error with exit code 2."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from experiment import Broken, check

from mbert_cli.errors import MbertError

_HANGS = 60  # seconds after which an action counts as hanging


def refusal(act: Callable[[], object], seconds: float | None = None) -> MbertError | None:
    """Run an action. Return its error, which has exit code 2, or None if it succeeded.

    Raises:
        Broken: the action raised another error, did not end, or took longer than `seconds`.
    """
    started = time.monotonic()
    error = None
    with _alarm():
        try:
            act()
        except MbertError as refused:
            error = refused
        except Broken:
            raise
        except BaseException as other:  # a panic in a Rust library is not an Exception
            raise Broken(f"{type(other).__name__} instead of an MbertError: {str(other)[:300]}") from other
    took = time.monotonic() - started
    check(seconds is None or took < seconds, f"took {took:.1f} s")
    check(error is None or error.exit_code == 2, f"exit code {error and error.exit_code}: {error}")
    return error


def snapshot(folder: Path) -> dict[str, bytes | str | None]:
    """Return the contents of a folder by path: bytes of files, targets of links, None for folders."""
    found: dict[str, bytes | str | None] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Broken(f"did not end within {_HANGS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
