"""Open the output of `mbert embed`: a file that is written whole, or a part that can be resumed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from mbert_cli.data.parquet_output import WriteOnlyFile, is_parquet
from mbert_cli.data.table import Table
from mbert_cli.data.vectors import NumpyRows, NumpyVectors, ParquetVectors, VectorFile, numpy_header
from mbert_cli.errors import counted
from mbert_cli.storage.output_file import replacing
from mbert_cli.storage.resumable_output import partial_output
from mbert_cli.terminal.console import Console


@dataclass(frozen=True)
class VectorOutput:
    """An open output of vectors.

    Args:
        file: the file.
        rows: number of rows that an interrupted command has written.
        finished: the output is complete already.
        commit: keeps the rows written so far, if the output can be resumed; takes their number.
    """

    file: VectorFile
    rows: int = 0
    finished: bool = False
    commit: Callable[[int], object] = lambda _: None


@contextmanager
def whole_vectors(path: Path, table: Table, hidden: int) -> Iterator[VectorOutput]:
    """Write a file of vectors. If the block fails, no file is left.

    Args:
        path: the output, .npy or .parquet.
        table: the input.
        hidden: number of values in a vector.
    """
    with replacing(path) as text_file:
        data = cast(IO[bytes], text_file.buffer)
        file: VectorFile = ParquetVectors(data, table, hidden) if is_parquet(path) else NumpyVectors(data, hidden)
        with closing(file):
            yield VectorOutput(file)


@contextmanager
def resumable_vectors(
    path: Path,
    table: Table,
    shape: tuple[int, int],
    fingerprint: Mapping[str, Any],
    force: bool,
    counts: dict[str, Any],
    console: Console,
) -> Iterator[VectorOutput]:
    """Write a part of a file of vectors, after the rows of an interrupted command with the same fingerprint.

    Parquet files start from the beginning, because a Parquet file is readable only with its index at the end.

    Args:
        path: the output, .npy or .parquet.
        table: the input.
        shape: number of rows of the part, and of values in a vector.
        fingerprint: everything that the bytes of the output depend on.
        force: whether an existing file may be replaced.
        counts: counts that are saved with each piece, and restored from the last one.
        console: prints whether the command is resumed.
    """
    with partial_output(path, fingerprint, force, remember=True, facts=counts, resumable=not is_parquet(path)) as out:
        if out.finished:
            yield VectorOutput(NumpyRows(out.write_bytes), out.rows, finished=True)
        elif is_parquet(path):
            console.info(f"{path}: if interrupted, this starts from the beginning (Parquet cannot be resumed).")
            file = ParquetVectors(WriteOnlyFile(out.write_bytes), table, shape[1])
            with closing(file):
                yield VectorOutput(file)
            out.rows = shape[0]
        else:
            if out.rows:
                console.info(f"{path}: resuming after {counted(out.rows, 'row')}.")
            else:
                out.write_bytes(numpy_header(*shape))
                out.commit(0)
            yield VectorOutput(NumpyRows(out.write_bytes), out.rows, commit=out.commit)
