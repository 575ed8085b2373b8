"""Open the output of a prediction: standard output, a file that is written whole, or one that can be resumed."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mbert_cli.data.parquet_output import ParquetSink, is_parquet
from mbert_cli.errors import counted
from mbert_cli.storage.output_file import replacing
from mbert_cli.storage.resumable_output import PartialOutput, Stream, is_compressed, partial_output
from mbert_cli.terminal.console import Console


@contextmanager
def standard_output() -> Iterator[Stream]:
    """Write to standard output, as UTF-8 with Unix line ends."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    yield Stream(sys.stdout)
    sys.stdout.flush()


@contextmanager
def whole_file(path: Path, console: Console) -> Iterator[Stream | ParquetSink]:
    """Write a file whose input can be read only once. If the block fails, no file is left.

    Args:
        path: the output file.
        console: prints that the prediction cannot be resumed.
    """
    console.info(f"{path}: if interrupted, this starts from the beginning (a stream cannot be resumed).")
    with replacing(path) as file:
        if is_parquet(path):
            with closing(ParquetSink(file.buffer.write)) as sink:
                yield sink
            return
        stream = Stream(file, is_compressed(path))
        yield stream
        stream.commit(0)


@contextmanager
def resumable_file(
    path: Path, fingerprint: Mapping[str, Any], force: bool, remember: bool, counts: dict[str, Any], console: Console
) -> Iterator[PartialOutput | ParquetSink]:
    """Write a file piece by piece, after the pieces of an interrupted prediction with the same fingerprint.

    Parquet files start from the beginning, because a Parquet file is readable only with its index at the end.

    Args:
        path: the output file.
        fingerprint: see `fingerprint_of`.
        force: whether an existing file may be replaced.
        remember: keep a record of the finished file; see `partial_output`.
        counts: counts that are saved with each piece, and restored from the last one.
        console: prints whether the prediction is resumed.
    """
    with partial_output(path, fingerprint, force, remember, counts) as out:
        if is_parquet(path) and not out.finished:
            console.info(f"{path}: if interrupted, this starts from the beginning (Parquet cannot be resumed).")
            with closing(ParquetSink(out.write_bytes)) as sink:
                yield sink
            out.rows = sink.rows
            return
        if out.rows and not out.finished:
            console.info(f"{path}: resuming after {counted(out.rows, 'row')}.")
        yield out
