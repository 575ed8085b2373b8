"""Opens data files, decompresses them, and decodes them to lines."""

import gzip
import io
import os
import shlex
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from mbert_cli.data.problem import Problem
from mbert_cli.errors import DataError, UsageError
from mbert_cli.messages import closest
from mbert_cli.storage.atomic import sha256_of
from mbert_cli.storage.remote import is_url

Kind = Literal["text", "gzip", "parquet"]
_MAX_LINE = 1 << 26  # bytes
_MAGIC: dict[bytes, Kind] = {b"\x1f\x8b": "gzip", b"PAR1": "parquet"}
_USE_GZIP = "unpack it, or compress it with gzip"
# Formats that are not read, by their first bytes: a description and a remedy.
_OTHERS = {
    b"PK\x03\x04": ("a ZIP archive, such as an .xlsx file", "unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an Excel file", "save the sheet as CSV"),
    b"BZh91AY": ("compressed with bzip2", _USE_GZIP),
    b"\xfd7zXZ": ("compressed with xz", _USE_GZIP),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", _USE_GZIP),
    b"ARROW1\0": ("an Arrow or Feather file", "save it as Parquet"),
}
_INSIDE = _OTHERS | {
    b"\x1f\x8b": ("compressed twice", "unpack it once"),
    b"PAR1": ("Parquet inside gzip", "unpack it; Parquet is already compressed"),
}


def open_source(path: str) -> tuple[io.BufferedIOBase, Kind]:
    """Open a file, and recognise its kind by its first bytes.

    Args:
        path: the file; `-` is standard input.

    Raises:
        DataError: the file cannot be read.
        UsageError: the path is not a valid file name, or standard input is closed.
    """
    file = _open(path)
    try:
        head = file.peek(4)[:4]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    kind: Kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "text")
    return (_Unzipped(file) if kind == "gzip" else file), kind


def missing_file_hint(path: str) -> str:
    """Return the remedy for a path that does not exist: a file with a similar name, or what to do."""
    siblings: list[str] = []
    with suppress(OSError):  # there is no such folder, or it cannot be listed
        siblings = [each.name for each in Path(path).parent.iterdir()]
    close = closest(Path(path).name, siblings)
    return f"did you mean '{close}'?" if close else "correct the path, or put the file there."


def sha256_of_data(path: str) -> str | None:
    """Return the SHA-256 of a data file; None for a stream, which can be read only once, and for a name of the Hub."""
    return sha256_of(Path(path)) if os.path.isfile(path) else None


def _refuse_others(name: str, line: bytes, unzipped: bool) -> None:
    """Refuse a file in a known binary format.

    Args:
        name: name of the file, for messages.
        line: its first line.
        unzipped: the line is from inside a gzip file.

    Raises:
        DataError: the file has such a format; with a remedy.
    """
    for magic, (what, remedy) in (_INSIDE if unzipped else _OTHERS).items():
        if line.startswith(magic):
            raise DataError(f"{name}: is {what}; {remedy}.")


class _Unzipped(gzip.GzipFile):
    """The content of a gzip file; closing it also closes the file."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(fileobj=cast(BinaryIO, file), mode="rb")
        self._compressed = file

    def close(self) -> None:
        super().close()
        if sys.stdin is None or self._compressed is not sys.stdin.buffer:
            self._compressed.close()


def _open(path: str) -> io.BufferedReader:
    if path == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed; redirect a file to it, or name the file.")
        return cast(io.BufferedReader, sys.stdin.buffer)
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder; name the file in it.")
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; {missing_file_hint(path)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError:
        raise UsageError(f"{path!r}: is not a file name.") from None


@dataclass(frozen=True)
class BadLine:
    """A line that is not text.

    Args:
        problem: the reason.
    """

    problem: Problem


class Lines:
    """The lines of a file with their line ends. Reading continues after a line that is not text.

    Args:
        file: a file in UTF-8; a byte order mark is removed.
        name: name of the file, for messages.
    """

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name
        self._offset = 0
        self._held: bytes | None = None  # a line that `skip` has read and that is not skipped
        self.number = 0
        """Number of lines that were read."""

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str | BadLine:
        """Return the next line.

        Raises:
            DataError: the file has another format, or its compression is damaged; with the line.
        """
        raw = self._next_bytes()
        if not raw:
            raise StopIteration
        self.number += 1
        offset, self._offset = self._offset, self._offset + len(raw)
        if self.number == 1:
            _refuse_others(self._name, raw, isinstance(self._file, _Unzipped))
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{self._name}:1: is UTF-16; {_conversion(self._name, self._file, 'UTF-16')}.")
        return self._decoded(raw, offset)

    def skip(self, most: int, rows_in: Callable[[bytes], int | None]) -> int:
        """Skip lines without decoding them; return the number of rows in them.

        Args:
            most: number of rows to skip at most.
            rows_in: returns the number of rows in a line, 0 or 1; None if the line must be parsed. Such a line is not
                skipped.

        Raises:
            DataError: see `__next__`.
        """
        rows = 0
        while rows < most and (raw := self._next_bytes()):
            count = rows_in(raw)
            if count is None:
                self._held = raw
                break
            rows += count
            self.number += 1
            self._offset += len(raw)
        return rows

    def _next_bytes(self) -> bytes:
        """Return the next line; no bytes at the end of the file."""
        if self._held is not None:
            raw, self._held = self._held, None
            return raw
        try:
            # A limit, because a file without line ends would be read into memory as a whole.
            raw = self._file.readline(_MAX_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self._place()}: is damaged or cut off here ({error}); compress it again.") from None
        except OSError as error:
            raise DataError(f"{self._place()}: cannot be read from here on ({error.strerror}).") from None
        if len(raw) > _MAX_LINE:
            raise DataError(f"{self._place()}: is longer than {_MAX_LINE >> 20} MiB; is it a text file?")
        return raw

    def _place(self) -> str:
        """Return the file and the line that is read next."""
        return f"{self._name}:{self.number + 1}"

    def _decoded(self, raw: bytes, offset: int) -> str | BadLine:
        if b"\0" in raw:
            return BadLine(Problem("contains a NUL byte", ("check that it is a text file",), in_bytes=True))
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            conversion = _conversion(self._name, self._file, "CP1252")
            what = f"is not UTF-8 (byte {offset + error.start} of the file)"
            return BadLine(Problem(what, (conversion,), kind="is not UTF-8", in_bytes=True))
        return text.removeprefix("\ufeff") if self.number == 1 else text


def _conversion(name: str, file: io.BufferedIOBase, encoding: str) -> str:
    """Return how to convert a file to UTF-8, with a shell command."""
    convert = f"iconv -f {encoding} -t UTF-8"
    if file is getattr(sys.stdin, "buffer", None) or not name or is_url(name):
        return f"convert it: `{convert}`"
    unzipped = isinstance(file, _Unzipped)
    path = Path(name.removesuffix(".gz") if unzipped else name)
    old, new = shlex.quote(name), shlex.quote(str(path.with_name(f"{path.stem}.utf8{path.suffix}")))
    return f"convert it: `gzip -dc {old} | {convert} > {new}`" if unzipped else f"convert it: `{convert} {old} > {new}`"
