"""A long output: written in pieces, so that a process that was killed goes on where it was. No torch here.

Beside OUT lies, until it is whole, the folder `.OUT.partial`:

    rows           what was written so far
    journal.jsonl  what it is made of; then, for each piece, the rows and bytes up to its end, their SHA-256, and what
                   was counted of the rows
    lock           held by the process that writes

What ends in `.gz` is compressed, each piece by itself, which gzip's format allows.

A piece is forced to disk before the journal tells of it. Who comes after a crash cuts `rows` to the last piece that the
journal tells of and whose hash holds, and goes on from there. At the end `rows` becomes OUT by renaming; a crash before
the folder is removed is known by the journal, whose last hash is then OUT's. Where OUT is one of several, the journal
stays until all are whole, so that who comes after a crash does not begin those anew that are.
"""

import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO

from mbert_cli.errors import MbertError, ResourceError, UsageError
from mbert_cli.storage.atomic import put_in_place, replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import take_lock

_CHUNK = 1 << 20
_JOURNAL = "journal.jsonl"


def partial_folder(path: Path) -> Path:
    """Return where the pieces of an output lie until it is whole."""
    return path.with_name(f".{path.name}.partial")


def is_compressed(path: Path) -> bool:
    """Whether an output is to be compressed, by its name."""
    return path.suffix.lower() == ".gz"


@contextmanager
def partial_output(
    path: Path,
    fingerprint: Mapping[str, Any],
    force: bool,
    remember: bool = False,
    facts: dict[str, Any] | None = None,
) -> Iterator["PartialOutput"]:
    """Write an output in pieces, going on after those that an interrupted process left.

    Where the block ends, the output is put in place. Where it fails for want of space, or is stopped, the pieces are
    kept; where the input is at fault, they go.

    Args:
        path: the output; its folder exists.
        fingerprint: all that its bytes follow from, as JSON; pieces with another fingerprint are not gone on from.
        force: replace what is there.
        remember: leave word that it is whole, until `forget`: the same is not written again then.
        facts: what is counted of the rows, as JSON; kept with every piece, and filled with what it was at the last one.

    Raises:
        RunInUseError: another process writes it.
        UsageError: it exists.
        ResourceError: the disk is full.
    """
    folder = partial_folder(path)
    with disk_errors(path, "run the same command again; it goes on where it was"):
        folder.mkdir(exist_ok=True)
        with _held(path):
            try:
                with PartialOutput(
                    path, folder, fingerprint, force, remember, {} if facts is None else facts
                ) as output:
                    yield output
            finally:
                if not (folder / _JOURNAL).exists():
                    shutil.rmtree(folder)


def interrupted_fingerprint(path: Path) -> dict[str, Any] | None:
    """Return the fingerprint of the output's pieces; None if there are no pieces, or the journal is damaged."""
    try:
        with (partial_folder(path) / _JOURNAL).open("rb") as file:
            fingerprint = json.loads(file.readline())["origin"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return fingerprint if isinstance(fingerprint, dict) else None


def forget(path: Path) -> None:
    """Remove the word that an output is whole, if there is one."""
    folder = partial_folder(path)
    if folder.is_dir():
        with disk_errors(path), _held(path):
            shutil.rmtree(folder)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = take_lock(partial_folder(path) / "lock", f"{path} is being written by another mbert; choose another -o.")
    try:
        yield
    finally:
        lock.release()


class Stream:
    """An output that cannot be gone on with.

    Args:
        file: where the text goes.
        compressed: write it as gzip has it; the file's `buffer` takes the bytes then.
    """

    rows = 0
    finished = False

    def __init__(self, file: IO[str], compressed: bool = False) -> None:
        self._file = file
        self._gzip = _Gzip() if compressed else None

    def write(self, text: str) -> None:
        """Write text."""
        if self._gzip is None:
            self._file.write(text)
        else:
            self._write(self._gzip.compress(text.encode("utf-8")))

    def commit(self, rows: int) -> None:
        """End a piece, which is nothing to a stream, but that what is compressed is whole."""
        if self._gzip is not None:
            self._write(self._gzip.end())

    def _write(self, data: bytes) -> None:
        assert isinstance(self._file, io.TextIOWrapper), "what is compressed goes to a file"
        self._file.buffer.write(data)


class _Gzip:
    """Bytes as gzip has them, without the time and the name that it may hold: the same for the same bytes."""

    def __init__(self) -> None:
        self._new()

    def _new(self) -> None:
        self._compressor, self._is_empty = zlib.compressobj(wbits=31), True

    def compress(self, data: bytes) -> bytes:
        """Take in bytes; return what can be written by now."""
        self._is_empty = False
        return self._compressor.compress(data)

    def end(self) -> bytes:
        """End a member of the format, if one was begun; return what is left to be written of it."""
        rest = b"" if self._is_empty else self._compressor.flush()
        self._new()
        return rest


class PartialOutput:
    """An output that is being written; `partial_output` makes it.

    Args:
        path: the output.
        folder: of its pieces; this process holds its lock.
        fingerprint: all that its bytes follow from.
        force: replace what is there.
        remember: leave the journal when the output is whole.
        facts: see `partial_output`.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        fingerprint: Mapping[str, Any],
        force: bool,
        remember: bool,
        facts: dict[str, Any],
    ) -> None:
        self._facts = facts
        self._path, self._remember = path, remember
        self._rows_file, self._journal_file = folder / "rows", folder / _JOURNAL
        self._digest = hashlib.sha256()
        self._gzip = _Gzip() if is_compressed(path) else None
        entries = self._read_journal(fingerprint)
        self.finished = bool(entries) and self._is_in_place(entries[-1])
        if path.exists() and not (force or self.finished):
            raise UsageError(f"{path}: exists; replace it with --force, or choose another output.")
        self.rows, self._bytes, self._pieces = 0, 0, 0
        self._file: BinaryIO
        self._journal: IO[str]
        if self.finished:
            nothing = Path(os.devnull)
            self._file, self._journal = nothing.open("r+b"), nothing.open("w", encoding="utf-8")
            self.rows = entries[-1]["rows"]
            facts.update(entries[-1]["facts"])
            return
        self._continue(entries, fingerprint)

    def _continue(self, entries: list[dict[str, Any]], fingerprint: Mapping[str, Any]) -> None:
        self.rows, self._bytes, self._pieces = self._last_whole(entries)
        if self._pieces:
            self._facts.update(entries[self._pieces - 1]["facts"])
        # The pieces that did not hold are forgotten first: the journal never tells of bytes that are not there.
        lines = [{"origin": fingerprint}, *entries[: self._pieces]]
        replace_file(self._journal_file, "".join(json.dumps(line) + "\n" for line in lines))
        self._file = self._rows_file.open("r+b" if self._pieces else "wb")
        self._file.truncate(self._bytes)
        self._file.seek(self._bytes)
        self._journal = self._journal_file.open("a", encoding="utf-8")

    def write(self, text: str) -> None:
        """Write text."""
        data = text.encode("utf-8")
        self.write_bytes(data if self._gzip is None else self._gzip.compress(data))

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._digest.update(data)
        self._bytes += len(data)
        self._file.write(data)

    def commit(self, rows: int) -> None:
        """End a piece: what was written so far holds so many rows, and is kept whatever happens."""
        if self._gzip is not None:
            self.write_bytes(self._gzip.end())
        self._sync(self._file)
        entry = {"rows": rows, "bytes": self._bytes, "sha256": self._digest.hexdigest(), "facts": self._facts}
        self._journal.write(json.dumps(entry) + "\n")
        self._sync(self._journal)
        self.rows, self._pieces = rows, self._pieces + 1

    def __enter__(self) -> "PartialOutput":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if error is None and not self.finished:
                self._put_in_place()
        finally:
            self._file.close()
            self._journal.close()
        at_fault = isinstance(error, MbertError) and not isinstance(error, ResourceError)
        if (error is None and not self._remember) or at_fault or not (self._pieces or self.finished):
            self._journal_file.unlink()

    def _put_in_place(self) -> None:
        self.commit(self.rows)  # a header without rows, or the end of what is no text
        put_in_place(self._rows_file, self._path)

    def _sync(self, file: Any) -> None:
        file.flush()
        os.fsync(file.fileno())

    def _read_journal(self, fingerprint: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the pieces that the journal tells of; none where it is with another fingerprint."""
        found: list[dict[str, Any]] = []
        if not self._journal_file.exists():
            return found
        first, *lines = self._journal_file.read_bytes().split(b"\n")
        if first != json.dumps({"origin": fingerprint}).encode():
            return found
        for line in lines:
            try:
                entry = json.loads(line)
                facts = dict(entry.get("facts", {}))
                sizes = {"rows": int(entry["rows"]), "bytes": int(entry["bytes"])}
                found.append({**sizes, "sha256": entry["sha256"], "facts": facts})
            except (ValueError, KeyError, TypeError):
                break  # the process died while it wrote this line
        return found

    def _is_in_place(self, last: Mapping[str, Any]) -> bool:
        """Whether the output has been put in place, and only the removal of its pieces is left to do."""
        if self._rows_file.exists() or not self._path.is_file() or self._path.stat().st_size != last["bytes"]:
            return False
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == last["sha256"]

    def _last_whole(self, entries: list[dict[str, Any]]) -> tuple[int, int, int]:
        """Return rows, bytes and number of the pieces that are there as the journal says; take in their hash."""
        found, digest = (0, 0, 0), hashlib.sha256()
        if not self._rows_file.exists():
            return found
        with self._rows_file.open("rb") as file:
            for number, entry in enumerate(entries, 1):
                while (left := entry["bytes"] - file.tell()) > 0 and (data := file.read(min(left, _CHUNK))):
                    digest.update(data)
                if left > 0 or digest.hexdigest() != entry["sha256"]:
                    break
                found, self._digest = (entry["rows"], entry["bytes"], number), digest.copy()
        return found
