"""Open the output of a prediction: standard output, a file that is written whole, or one that can be resumed."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbert_cli.data.parquet_output import ParquetSink
from mbert_cli.errors import counted
from mbert_cli.prediction.output_formats import OutputFormat
from mbert_cli.storage.output_file import replacing
from mbert_cli.storage.resumable_output import PartialOutput, Stream, is_compressed, partial_folder, partial_output
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor


@contextmanager
def standard_output() -> Iterator[Stream]:
    """Write to standard output, as UTF-8 with Unix line ends."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    yield Stream(sys.stdout)
    sys.stdout.flush()


@contextmanager
def whole_file(path: Path, format_: OutputFormat, console: Console) -> Iterator[PartialOutput | Stream | ParquetSink]:
    """Write a file whose input can be read only once. If the block fails, no file is left.

    Args:
        path: the output file.
        format_: its format.
        console: prints that the prediction cannot be resumed.
    """
    console.info(f"{path}: if interrupted, this starts from the beginning (a stream cannot be resumed).")
    with replacing(path) as file:
        stream = Stream(file, is_compressed(path))
        with format_.sink(stream) as sink:
            yield sink
        stream.commit(0)


@contextmanager
def resumable_file(
    path: Path,
    format_: OutputFormat,
    fingerprint: Mapping[str, Any],
    force: bool,
    remember: bool,
    counts: dict[str, Any],
    console: Console,
) -> Iterator[PartialOutput | Stream | ParquetSink]:
    """Write a file piece by piece, after the pieces of an interrupted prediction with the same fingerprint.

    A file in a format that is not resumable starts from the beginning.

    Args:
        path: the output file.
        format_: its format.
        fingerprint: see `fingerprint_of`.
        force: whether an existing file may be replaced.
        remember: keep a record of the finished file; see `partial_output`.
        counts: counts that are saved with each piece, and restored from the last one.
        console: prints whether the prediction is resumed.
    """
    with partial_output(path, fingerprint, force, remember, counts, not format_.why_not_resumable) as out:
        if out.finished:
            yield out
            return
        if format_.why_not_resumable:
            console.info(f"{path}: if interrupted, this starts from the beginning ({format_.why_not_resumable}).")
        elif out.rows:
            console.info(f"{path}: resuming after {counted(out.rows, 'row')}.")
        with format_.sink(out) as sink:
            yield sink
        out.rows = sink.rows


def use_threads_begun_with(
    path: Path, fingerprint: dict[str, Any], predictor: "Predictor", threads: ExitStack, console: Console
) -> None:
    """Use the number of threads that an interrupted output was started with: it changes the last digits of a result.

    Args:
        path: the output.
        fingerprint: its fingerprint; the number of threads in it is changed.
        predictor: the model.
        threads: the number of threads is used until this is closed.
        console: prints the number if it differs.
    """
    from mbert_cli.machine.hardware import computing_with
    from mbert_cli.prediction.fingerprint import threads_begun_with

    current = predictor.hardware.threads
    begun_with = threads_begun_with(path, fingerprint)
    if begun_with is None or begun_with == current:
        return
    console.info(
        f"{path}: computing with {counted(begun_with, 'thread')}, as the prediction was started with, and not "
        f"{current}: their number changes the last digits. To use {current}, remove {partial_folder(path)}."
    )
    threads.enter_context(computing_with(begun_with))
    fingerprint["hardware"] = predictor.hardware.facts()
