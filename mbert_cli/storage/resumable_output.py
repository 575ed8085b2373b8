"""A long output, written in pieces, so that it can be resumed if the process is killed.

Until OUT is complete, its pieces are in the folder `.OUT.partial`:

    rows           the output so far
    journal.jsonl  first the fingerprint of the output. Then a line for each piece: the number of rows and bytes up to
                   its end, the SHA-256 of these bytes, and the values counted over these rows
    lock           held by the process that writes

If the name of OUT ends in `.gz`, each piece is a gzip member of its own, so that it can be written without the others.

A piece is flushed to disk before its line is added to the journal. A header is a piece of 0 rows. After a crash, `rows`
is truncated to the last piece in the journal whose hash is right, and the output continues from there. If this is the
header, it starts from the beginning. At the end, `rows` is renamed to OUT. A crash after that, before the folder is
removed, is recognised by the last hash in the journal, which is the hash of OUT. If a command writes several outputs,
each journal stays until all outputs are complete, so that a resumed command does not write the complete ones again. The
journal of a part (`--shard`) stays for `mbert join`.

Must not import torch: fast start-up.
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
JOURNAL = "journal.jsonl"
"""File of the fingerprint and the list of pieces."""
PIECES = "rows"
"""File of the pieces, until the output is complete."""


def partial_folder(path: Path) -> Path:
    """Return the folder with the pieces of an output that is not complete."""
    return path.with_name(f".{path.name}.partial")


def is_compressed(path: Path) -> bool:
    """Whether the name of an output asks for compression."""
    return path.suffix.lower() == ".gz"


@contextmanager
def partial_output(
    path: Path,
    fingerprint: Mapping[str, Any],
    force: bool,
    remember: bool = False,
    facts: dict[str, Any] | None = None,
    resumable: bool = True,
) -> Iterator["PartialOutput"]:
    """Write an output in pieces, after those that an interrupted process has written.

    At the end of the block, the output gets its final name. If the block is stopped or the disk is full, the pieces are
    kept. If the input is invalid, they are removed.

    Args:
        path: the output; its folder exists.
        fingerprint: everything that the bytes of the output depend on, as JSON. Pieces with another fingerprint are
            discarded.
        force: replace an existing output.
        remember: keep the journal of the complete output until `forget`, so that it is not written again.
        facts: values counted over the rows, as JSON. They are saved with every piece, and restored from the last one.
        resumable: whether more can be written after the pieces of an interrupted process; if not, they are discarded.

    Raises:
        RunInUseError: another process writes the output.
        UsageError: the output exists.
        ResourceError: the disk is full.
    """
    folder = partial_folder(path)
    with disk_errors(path, "run the same command again; it continues where it stopped"):
        folder.mkdir(exist_ok=True)
        with _held(path):
            try:
                with PartialOutput(
                    path, folder, fingerprint, force, remember, {} if facts is None else facts, resumable
                ) as output:
                    yield output
            finally:
                if not (folder / JOURNAL).exists():
                    shutil.rmtree(folder)


def interrupted_fingerprint(path: Path) -> dict[str, Any] | None:
    """Return the fingerprint of the output's pieces; None if there are no pieces, or the journal is damaged."""
    try:
        with (partial_folder(path) / JOURNAL).open("rb") as file:
            fingerprint = json.loads(file.readline())["origin"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return fingerprint if isinstance(fingerprint, dict) else None


def forget(path: Path) -> None:
    """Remove the journal of a complete output, if it was kept."""
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
    """An output that cannot be resumed.

    Args:
        file: the open file.
        compressed: compress the text with gzip. The file must have a `buffer` for bytes then.
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
            self.write_bytes(self._gzip.compress(text.encode("utf-8")))

    def commit(self, rows: int) -> None:
        """End a piece. For a stream this only ends the gzip member."""
        if self._gzip is not None:
            self.write_bytes(self._gzip.end())

    def write_bytes(self, data: bytes) -> None:
        """Write bytes, without compression."""
        assert isinstance(self._file, io.TextIOWrapper), "bytes need a file with a buffer"
        self._file.buffer.write(data)


class _Gzip:
    """Compression with gzip, without time and name in the header: the same input gives the same bytes."""

    def __init__(self) -> None:
        self._new()

    def _new(self) -> None:
        self._compressor, self._is_empty = zlib.compressobj(wbits=31), True

    def compress(self, data: bytes) -> bytes:
        """Compress bytes; return those that can be written already."""
        self._is_empty = False
        return self._compressor.compress(data)

    def end(self) -> bytes:
        """End the current gzip member, if there is one; return its remaining bytes."""
        rest = b"" if self._is_empty else self._compressor.flush()
        self._new()
        return rest


class PartialOutput:
    """An output that is being written; see `partial_output`, which creates it.

    Args:
        path: the output.
        folder: the folder of its pieces, locked by this process.
        fingerprint: see `partial_output`.
        force: see `partial_output`.
        remember: see `partial_output`.
        facts: see `partial_output`.
        resumable: see `partial_output`.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        fingerprint: Mapping[str, Any],
        force: bool,
        remember: bool,
        facts: dict[str, Any],
        resumable: bool,
    ) -> None:
        self._facts = facts
        self._path, self._remember = path, remember
        self._rows_file, self._journal_file = folder / PIECES, folder / JOURNAL
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
        self._continue(entries if resumable else [], fingerprint)

    def _continue(self, entries: list[dict[str, Any]], fingerprint: Mapping[str, Any]) -> None:
        self.rows, self._bytes, self._pieces = self._last_whole(entries)
        if self._pieces:
            self._facts.update(entries[self._pieces - 1]["facts"])
        # Drop the invalid pieces from the journal first, so that it never lists bytes that do not exist.
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
        """Write bytes, without compression."""
        self._digest.update(data)
        self._bytes += len(data)
        self._file.write(data)

    def commit(self, rows: int) -> None:
        """End a piece, so that it is kept if the process dies.

        Args:
            rows: number of rows written so far.
        """
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
        is_kept = self._remember if error is None else not at_fault and bool(self.rows or self.finished)
        if not is_kept:
            self._journal_file.unlink()

    def _put_in_place(self) -> None:
        self.commit(self.rows)  # what was written since the last piece, such as a header without rows
        put_in_place(self._rows_file, self._path)

    def _sync(self, file: Any) -> None:
        file.flush()
        os.fsync(file.fileno())

    def _read_journal(self, fingerprint: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the pieces in the journal; none if its fingerprint is another."""
        entries: list[dict[str, Any]] = []
        if not self._journal_file.exists():
            return entries
        first, *lines = self._journal_file.read_bytes().split(b"\n")
        if first != json.dumps({"origin": fingerprint}).encode():
            return entries
        for line in lines:
            try:
                entry = json.loads(line)
                facts = dict(entry.get("facts", {}))
                sizes = {"rows": int(entry["rows"]), "bytes": int(entry["bytes"])}
                entries.append({**sizes, "sha256": entry["sha256"], "facts": facts})
            except (ValueError, KeyError, TypeError):
                break  # the process died while writing this line
        return entries

    def _is_in_place(self, last: Mapping[str, Any]) -> bool:
        """Whether the output has its final name already, so that only its pieces remain to be removed."""
        if self._rows_file.exists() or not self._path.is_file() or self._path.stat().st_size != last["bytes"]:
            return False
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == last["sha256"]

    def _last_whole(self, entries: list[dict[str, Any]]) -> tuple[int, int, int]:
        """Return the rows, bytes and number of the valid pieces, and set the digest to theirs."""
        valid, digest = (0, 0, 0), hashlib.sha256()
        if not self._rows_file.exists():
            return valid
        with self._rows_file.open("rb") as file:
            for number, entry in enumerate(entries, 1):
                while (left := entry["bytes"] - file.tell()) > 0 and (data := file.read(min(left, _CHUNK))):
                    digest.update(data)
                if left > 0 or digest.hexdigest() != entry["sha256"]:
                    break
                if entry["rows"]:  # a header alone is written again
                    valid, self._digest = (entry["rows"], entry["bytes"], number), digest.copy()
        return valid
