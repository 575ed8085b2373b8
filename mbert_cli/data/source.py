"""Data files as bytes: opened, decompressed, decoded to lines."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Literal, cast

from mbert_cli.errors import DataError, UsageError

Kind = Literal["text", "gzip", "parquet"]
_MAX_LINE = 1 << 26  # bytes
_MAGIC: dict[bytes, Kind] = {b"\x1f\x8b": "gzip", b"PAR1": "parquet"}


def open_source(path: str) -> tuple[io.BufferedIOBase, Kind]:
    """Open a file, and tell by its first bytes what it is.

    Args:
        path: the file; `-` is standard input.

    Raises:
        DataError: it cannot be read.
        UsageError: this is no name of a file.
    """
    file = _open(path)
    try:
        head = file.peek(4)[:4]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    kind: Kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "text")
    return (_Unzipped(file) if kind == "gzip" else file), kind


class _Unzipped(gzip.GzipFile):
    """What a compressed file holds; closing it closes the file."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(fileobj=cast(BinaryIO, file), mode="rb")
        self._compressed = file

    def close(self) -> None:
        super().close()
        if self._compressed is not sys.stdin.buffer:
            self._compressed.close()


def _open(path: str) -> io.BufferedReader:
    if path == "-":
        return cast(io.BufferedReader, sys.stdin.buffer)
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder; name the file in it.")
    try:
        return open(path, "rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError:
        raise UsageError(f"{path!r}: is not a file name.") from None


def decoded(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    """Yield the lines of a file, with their ends.

    Args:
        file: UTF-8; a byte order mark is dropped.
        name: of it, for messages.

    Raises:
        DataError: it is not UTF-8 text, or its compression is broken; with the line.
    """
    offset, number = 0, 0
    while True:
        number += 1
        try:
            # Not simply the file's lines: a file without line ends would be in memory as a whole.
            raw = file.readline(_MAX_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{name}:{number}: is damaged or cut off here ({error}); compress it anew.") from None
        if not raw:
            return
        if len(raw) > _MAX_LINE:
            raise DataError(f"{name}:{number}: is longer than {_MAX_LINE >> 20} MiB; is it a text file?")
        if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{name}:1: is UTF-16; save it as UTF-8.")
        if b"\0" in raw:
            raise DataError(f"{name}:{number}: holds a NUL byte; is it a text file?")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            at = offset + error.start
            raise DataError(f"{name}:{number}: is not UTF-8 (byte {at} of the file); save it as UTF-8.") from None
        yield text.removeprefix("\ufeff") if number == 1 else text
        offset += len(raw)
