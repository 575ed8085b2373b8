"""The journal of a complete output that was written in pieces; see `resumable_output`.

Must not import torch: fast start-up.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import DataError
from mbert_cli.storage.resumable_output import JOURNAL, PIECES, partial_folder

_CHUNK = 1 << 20


@dataclass(frozen=True)
class FinishedOutput:
    """A complete output.

    Args:
        path: the file.
        fingerprint: see `partial_output`.
        rows: number of rows.
        size: number of bytes.
        header: number of bytes of the header.
        sha256: hash of the file.
        facts: values counted over the rows; see `partial_output`.
    """

    path: Path
    fingerprint: dict[str, Any]
    rows: int
    size: int
    header: int
    sha256: str
    facts: dict[str, Any]

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the file, the header first.

        Raises:
            DataError: the file was altered after it was written. This is known only at its end.
        """
        digest, left = hashlib.sha256(), self.header
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(min(left, _CHUNK) if left else _CHUNK):
                    digest.update(chunk)
                    left = max(0, left - len(chunk))
                    yield chunk
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}).") from None
        actual = digest.hexdigest()
        if actual != self.sha256:
            raise DataError(
                f"{self.path}: was altered after it was written: its sha256 is {actual}, but its journal has "
                f"{self.sha256}; remove it, and run the command that writes it again."
            )


def finished_output(path: Path) -> FinishedOutput:
    """Read the journal of a complete output.

    Raises:
        DataError: the output or its journal is missing, or the output is not complete.
    """
    folder = partial_folder(path)
    journal = folder / JOURNAL
    if not journal.is_file():
        if not path.exists():
            raise DataError(f"{path}: does not exist; run the command that writes it.")
        raise DataError(f"{path}: has no journal {journal}; copy the folder {folder.name} along with the file.")
    if not path.is_file() or (folder / PIECES).exists():
        raise DataError(f"{path}: is not finished; run the command that writes it again, which continues it.")
    try:
        first, *entries = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        last = entries[-1]
        header = max((each["bytes"] for each in entries if not each["rows"]), default=0)
        fingerprint, rows, size, sha256 = first["origin"], last["rows"], last["bytes"], last["sha256"]
        facts = dict(last.get("facts", {}))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise DataError(f"{journal}: is damaged; remove it and {path}, and run the command that writes it.") from None
    return FinishedOutput(path, fingerprint, rows, size, header, sha256, facts)
