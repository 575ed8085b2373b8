"""Signals that ask the process to stop; they can be deferred while something must not be interrupted.

Must not import torch: fast start-up.
"""

import _thread
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType, TracebackType

from mbert_cli.errors import MbertError, Stopped

_STOPPING = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
_MAX_IMPORT = 5.0  # seconds that an import may continue after a signal
_RETRY = 0.02  # seconds


class _Received:
    """The first signal that was received, and whether signals are deferred or ignored."""

    number: int | None = None
    time = 0.0
    depth = 0  # number of `deferred` blocks around the current code
    ending = False


def listen() -> None:
    """Make SIGINT, SIGTERM and SIGHUP raise `Stopped`, except in `deferred` and after `ignore_further_signals`.

    During an import, they raise when it ends. SIGHUP, which a terminal sends when it closes, stays ignored if `nohup`
    has ignored it.
    """
    _Received.number, _Received.time, _Received.ending = None, 0.0, False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _receive)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _receive)


def _receive(number: int, frame: FrameType | None) -> None:
    # Not KeyboardInterrupt, for which the command-line library has its own exit code.
    if _Received.number is None:
        _Received.number, _Received.time = number, time.monotonic()
    # An exception during the import of compiled code can end the process with a C++ error.
    if _is_importing(frame) and time.monotonic() < _Received.time + _MAX_IMPORT:
        _thread.start_new_thread(_send_again, (number, _thread.get_ident()))
    else:
        check()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _send_again(number: int, main_thread: int) -> None:
    time.sleep(_RETRY)
    # Sent to the main thread: a signal that this thread receives does not interrupt system calls of the main thread.
    signal.pthread_kill(main_thread, number)


def check() -> None:
    """Raise `Stopped` if a signal was received, except in `deferred` and after `ignore_further_signals`."""
    if _Received.number is not None and _Received.depth == 0 and not _Received.ending:
        raise Stopped(_Received.number)


def received() -> int | None:
    """Return the number of the first signal that was received; None if there was none."""
    return _Received.number


class deferred:  # noqa: N801 -- used like a function: `with deferred():`
    """A block that signals do not interrupt; a signal received in it raises `Stopped` at its end.

    Used for the step of an optimizer and for the commit of its results.
    """

    def __enter__(self) -> None:
        _Received.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _Received.depth -= 1
        # Python ignores an exception in a destructor. If `Stopped` was lost this way, this raises it again.
        if kind is None:
            check()


class listening_to_interrupts:  # noqa: N801 -- used like a function
    """A block in which SIGINT raises `Stopped`, as after `listen`, in a program of a user that does not call `listen`.

    In other threads than the main one, nothing changes, because Python runs handlers only in the main thread.
    """

    def __enter__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        self._listens = self._before not in (None, _receive)  # None: the handler was not set by Python
        if self._listens:
            try:
                signal.signal(signal.SIGINT, _receive)
            except ValueError:  # not the main thread
                self._listens = False
            else:
                _Received.number, _Received.time, _Received.ending = None, 0.0, False

    def __exit__(self, *error: object) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, self._before)
            _Received.number, _Received.ending = None, False


class ending_at_once:  # noqa: N801 -- used like a function
    """A block in which signals end the process at once, before there is anything to save.

    For calls of a library that do not return to Python while they wait, so that `Stopped` would be raised too late. In
    other threads than the main one, nothing changes.
    """

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in _STOPPING}
        self._set({number: signal.SIG_DFL for number, each in self._before.items() if each == _receive})
        try:
            check()  # code that was interrupted may have caught `Stopped`
        except Stopped:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        self._set({number: each for number, each in self._before.items() if each == _receive})

    def _set(self, handlers: Mapping[int, Callable[[int, FrameType | None], object] | int | None]) -> None:
        with suppress(ValueError):  # not the main thread
            for number, handler in handlers.items():
                signal.signal(number, handler)


def stopped_by(error: BaseException) -> Stopped | None:
    """Return the `Stopped` that caused an error, or None.

    Interrupted code may raise another exception instead of `Stopped`; an import of compiled code, for example, raises
    ImportError. So after a signal, every exception that is not an `MbertError` counts as the effect of the signal.
    """
    if isinstance(error, Stopped):
        return error
    if _Received.number is None or isinstance(error, MbertError | SystemExit):
        return None
    return Stopped(_Received.number)


def ignore_further_signals() -> None:
    """Ignore all further signals, because the process is about to end and must save its progress."""
    _Received.ending = True
