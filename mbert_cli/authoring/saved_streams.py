"""Copies of streams: `mbert init` reads its files several times, but a stream can be read only once."""

import gzip
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

from mbert_cli.data.source import open_source
from mbert_cli.errors import DataError
from mbert_cli.storage.output_file import check_output, is_stream, replacing
from mbert_cli.terminal.console import Console

_MAX_HEADER = 1 << 20  # bytes


def save_streams(files: Sequence[Path], folder: Path, force: bool, console: Console) -> list[Path]:
    """Return the files, with each stream replaced by a copy in a folder.

    Args:
        files: files and streams.
        folder: the folder.
        force: replace copies that exist.
        console: where the copies are reported.

    Raises:
        UsageError: a copy cannot be written.
        DataError: a stream is damaged.
    """
    streams = [path for path in files if is_stream(path) or path.is_fifo()]
    copies = {}
    for number, path in enumerate(streams, 1):
        copies[path] = _save(path, number, folder, force)
        console.info(f"saved {'standard input' if str(path) == '-' else path} as {copies[path]}")
    return [copies.get(path, path) for path in files]


def _save(stream: Path, number: int, folder: Path, force: bool) -> Path:
    """Copy a stream to a file in a folder; return the file."""
    source, kind = open_source(str(stream))
    try:
        header = source.readline(_MAX_HEADER)
        ending = "jsonl" if header.startswith(b"{") else "tsv" if b"\t" in header else "csv"
        path = folder / f"input{'' if number == 1 else f'_{number}'}.{'parquet' if kind == 'parquet' else ending}"
        check_output(path, force)
        with replacing(path) as copy:
            copy.buffer.write(header)
            shutil.copyfileobj(source, copy.buffer)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{stream}: is damaged or cut off ({error}); compress it again.") from None
    return path
