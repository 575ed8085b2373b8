"""Standard streams that fail in one way: messages are lost in silence, data that cannot be written ends the command."""

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any

from mbert_cli.errors import MbertError, ReaderGoneError, ResourceError, UsageError

_STDIN, _STDOUT, _STDERR = range(3)


def guard() -> None:
    """Replace `sys.stdout` and `sys.stderr`, also where a stream is closed.

    stderr: what cannot be written is lost, and the work goes on.
    stdout: the first failure raises an `MbertError`; after it, what is still buffered is lost in silence, because
    Python flushes stdout once more at its exit.
    """
    stdout, stderr = sys.stdout, sys.stderr
    for number in (_STDIN, _STDOUT, _STDERR):
        _fill(number)
    messages = _Messages(_STDERR, "wb", closefd=False)
    sys.stderr = _text(messages, _encoding(stderr), "backslashreplace", line_buffering=True)
    raw = Data(_STDOUT, "wb", closefd=False)
    raw.was_open = stdout is not None
    # `strict` would end a command at the first character that the terminal's encoding lacks.
    errors = stdout.errors if stdout is not None and stdout.errors not in (None, "strict") else "backslashreplace"
    is_eager = stdout is not None and (stdout.isatty() or getattr(stdout, "write_through", False))
    sys.stdout = _text(raw, _encoding(stdout), errors, line_buffering=is_eager)


def _fill(number: int) -> None:
    """Open the null device in the place of a closed stream: the next file that is opened would take its number."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one


def _encoding(stream: Any) -> str:
    return "utf-8" if stream is None else str(stream.encoding)


def _text(raw: io.RawIOBase, encoding: str, errors: str, line_buffering: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)


class _Messages(io.FileIO):
    """Standard error: a full disk, a closed terminal or a reader that has gone stops no work."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


class Data(io.FileIO):
    """Standard output: its first failure is raised as an `MbertError`, later ones are not."""

    was_open = True
    _has_failed = False

    def write(self, data: Any, /) -> int:
        """Write bytes; raise an `MbertError` at the first failure."""
        if self._has_failed:
            return memoryview(data).nbytes
        try:
            return self._write(data)
        except OSError as error:
            self._has_failed = True
            raise _explained(error) from None

    def _write(self, data: Any) -> int:
        written: Any
        if not self.was_open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        while (written := super().write(data)) is None:  # set to non-blocking by another program, and full
            select.select([], [self], [])
        return written


def _explained(error: OSError) -> MbertError:
    if error.errno == errno.EPIPE:
        return ReaderGoneError()
    if error.errno == errno.EBADF:
        return UsageError("standard output is closed; redirect it to a file, or to /dev/null.")
    from mbert_cli.storage.disk import resource_error

    found = resource_error("standard output", error.errno, "run the command again")
    return found or ResourceError(f"standard output: cannot be written ({error.strerror}).")
