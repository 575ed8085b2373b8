"""How an act ended: well, or refused in words that a user can act on."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from experiment import Broken, check

from mbert_cli.errors import MbertError

_HANGS = 60  # seconds after which nobody waits any longer


def refusal(act: Callable[[], object], seconds: float | None = None) -> MbertError | None:
    """Return the error with exit code 2 by which an act was refused; None where it was not.

    Raises:
        Broken: it raised something else, hung, or took longer than `seconds`.
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
        except BaseException as other:  # a panic of a library in Rust is no Exception
            raise Broken(f"{type(other).__name__} in place of a refusal: {str(other)[:300]}") from other
    took = time.monotonic() - started
    check(seconds is None or took < seconds, f"took {took:.1f} s")
    check(error is None or error.exit_code == 2, f"exit code {error and error.exit_code}: {error}")
    return error


def snapshot(folder: Path) -> dict[str, bytes | str | None]:
    """Return all that a folder holds: files' bytes, where links lead, and None for a folder."""
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
        raise Broken(f"hangs: not done after {_HANGS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
