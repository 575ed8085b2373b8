"""Standard streams: messages that cannot be written are dropped, data that cannot be written ends the command."""

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
    """Replace `sys.stdout` and `sys.stderr`, even if they are closed.

    stderr: text that cannot be written is dropped, and the command continues.
    stdout: the first failure raises an `MbertError`. After it, buffered text is dropped, because Python flushes stdout
    again when it exits.
    """
    stdout, stderr = sys.stdout, sys.stderr
    for number in (_STDIN, _STDOUT, _STDERR):
        _fill(number)
    messages = _Messages(_STDERR, "wb", closefd=False)
    sys.stderr = _text(messages, _encoding(stderr), "backslashreplace", line_buffering=True)
    raw = Data(_STDOUT, "wb", closefd=False)
    raw.was_open = stdout is not None
    # With `strict`, a character that the terminal's encoding does not have would raise an error.
    errors = stdout.errors if stdout is not None and stdout.errors not in (None, "strict") else "backslashreplace"
    is_eager = stdout is not None and (stdout.isatty() or getattr(stdout, "write_through", False))
    sys.stdout = _text(raw, _encoding(stdout), errors, line_buffering=is_eager)


def _fill(number: int) -> None:
    """Open the null device if a stream is closed, so that no other file gets its number."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # uses the lowest free number, which is this one


def _encoding(stream: Any) -> str:
    return "utf-8" if stream is None else str(stream.encoding)


def _text(raw: io.RawIOBase, encoding: str, errors: str, line_buffering: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)


class _Messages(io.FileIO):
    """Standard error: a full disk, a closed terminal or a reader that has exited raises no error."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


class Data(io.FileIO):
    """Standard output: the first failure raises an `MbertError`, later failures do not."""

    was_open = True
    _has_failed = False

    def write(self, data: Any, /) -> int:
        """Write bytes.

        Raises:
            MbertError: this is the first write that fails.
        """
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
        while (
            written := super().write(data)
        ) is None:  # the pipe is full, and another program has made it non-blocking
            select.select([], [self], [])
        return written


def _explained(error: OSError) -> MbertError:
    if error.errno == errno.EPIPE:
        return ReaderGoneError()
    if error.errno == errno.EBADF:
        return UsageError("standard output is closed; redirect it to a file, or to /dev/null.")
    from mbert_cli.storage.disk import resource_error

    known = resource_error("standard output", error.errno, "run the command again")
    return known or ResourceError(f"standard output: cannot be written ({error.strerror}).")
