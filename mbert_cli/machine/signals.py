"""Signals that ask the process to stop: heeded at once, but where something would be left half done. No torch here."""

import _thread
import signal
import time
from types import FrameType, TracebackType

from mbert_cli.errors import MbertError, Stopped

_LONGEST_IMPORT = 5.0  # seconds that an import may go on after a signal
_LOOK_AGAIN = 0.02  # seconds


class _Heard:
    """The first signal that was heard, and what is going on meanwhile."""

    number: int | None = None
    time = 0.0
    depth = 0  # of `deferred` blocks
    ending = False


def listen() -> None:
    """From now on, SIGINT, SIGTERM and SIGHUP raise `Stopped`, but not within `deferred` and `ignore_further_signals`.

    Within an import they raise at its end.

    SIGHUP, which a terminal sends as it closes, stays ignored where `nohup` asked for that.
    """
    _Heard.number, _Heard.time, _Heard.ending = None, 0.0, False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _hear)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hear)


def _hear(number: int, frame: FrameType | None) -> None:
    # Not KeyboardInterrupt, which the command-line library would turn into an exit code of its own.
    if _Heard.number is None:
        _Heard.number, _Heard.time = number, time.monotonic()
    # An exception in the midst of an import of compiled code can end the process by a C++ error.
    if _is_importing(frame) and time.monotonic() < _Heard.time + _LONGEST_IMPORT:
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
    time.sleep(_LOOK_AGAIN)
    # To the main thread: a signal that this thread took would not wake it from a system call.
    signal.pthread_kill(main_thread, number)


def check() -> None:
    """Raise `Stopped` if a signal was heard, but not within `deferred` and after `ignore_further_signals`."""
    if _Heard.number is not None and _Heard.depth == 0 and not _Heard.ending:
        raise Stopped(_Heard.number)


class deferred:  # noqa: N801 -- `with whole():` reads as a word
    """A block that a signal does not cut short: what was heard meanwhile is raised at its end.

    Such are an optimizer's step, and the commit of what it did.
    """

    def __enter__(self) -> None:
        _Heard.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _Heard.depth -= 1
        # Also what an earlier `Stopped` said that was lost where Python ignores exceptions, as in a destructor.
        if kind is None:
            check()


def stopped_by(error: BaseException) -> Stopped | None:
    """Return the stop that an error is, or hides.

    Whatever code a signal interrupts may turn what it raises into an error of its own: an import of compiled code into
    an ImportError, say. So, once a signal was heard, what is not an error of the user's is taken for it.
    """
    if isinstance(error, Stopped):
        return error
    if _Heard.number is None or isinstance(error, MbertError | SystemExit):
        return None
    return Stopped(_Heard.number)


def ignore_further_signals() -> None:
    """From now on the process ends: no further signal interrupts what it saves."""
    _Heard.ending = True
