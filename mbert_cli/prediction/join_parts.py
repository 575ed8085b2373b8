"""Join the parts of a prediction: the procedure of `mbert join`.

Must not import torch: fast start-up.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mbert_cli.data.text_output import ending_of
from mbert_cli.data.vectors import NUMPY_HEADER, numpy_header, numpy_hidden
from mbert_cli.errors import DataError, UsageError, counted
from mbert_cli.prediction.parts import Parts, find_parts
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.finished_output import FinishedOutput
from mbert_cli.storage.output_file import check_output, replacing
from mbert_cli.storage.resumable_output import partial_folder


def join_parts(paths: Sequence[Path], output: Path, force: bool, note: Callable[[str], None]) -> None:
    """Write the output of which files are the parts. If this fails, an existing output is kept.

    Args:
        paths: the parts, in any order; or the folders with the parts of several files.
        output: the output file; a folder for folders.
        force: replace an existing output.
        note: receives what the user should know, one line each.

    Raises:
        DataError: a part is missing, given twice, not finished, altered, or of another prediction.
        UsageError: the output may not be written, or files and folders are mixed.
    """
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        _join_files(paths, output, force, note)
        return
    file = next((path for path in paths if path not in folders), None)
    if file is not None:
        raise UsageError(f"{file}: is not a folder, but {folders[0]} is; join files and folders separately.")
    _join_folders(folders, output, force, note)


def _join_folders(folders: Sequence[Path], output: Path, force: bool, note: Callable[[str], None]) -> None:
    """Join the files of the same name in several folders."""
    names = sorted({path.name for folder in folders for path in folder.iterdir() if partial_folder(path).is_dir()})
    if not names:
        raise DataError(f"{folders[0]}: contains no part; name the folders that were written with --shard.")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: is a file; for folders of parts name a folder.")
    if output in folders:
        raise UsageError(f"{output}: is one of the parts; choose another output.")
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    for name in names:
        check_output(output / name, force)
    for name in names:
        _join_files([folder / name for folder in folders], output / name, force, note)


def _join_files(paths: Sequence[Path], output: Path, force: bool, note: Callable[[str], None]) -> None:
    check_output(output, force)
    if any(output.exists() and path.exists() and output.samefile(path) for path in paths):
        raise UsageError(f"{output}: is one of the parts; choose another output.")
    parts = find_parts(paths)
    ending = ending_of(str(output))
    if ending != parts.ending and (ending or parts.ending.endswith((".npy", ".parquet", ".gz"))):
        remedy = f"end the name in {parts.ending}" if parts.ending else "leave out the ending"
        raise UsageError(f"{output}: parts are not converted while they are joined; {remedy}.")
    with replacing(output) as file:
        write = file.buffer.write
        if parts.ending == ".parquet":
            _write_parquet(parts, write)
        else:
            _write_bytes(parts, write)
    for each in parts.notes:
        note(f"{output}: {each}")
    note(f"wrote {output}: {counted(parts.rows, 'row')} of {counted(len(parts.outputs), 'part')}")


def _write_bytes(parts: Parts, write: Callable[[bytes], object]) -> None:
    """Write the header of the first part, and the rows of all parts."""
    for number, part in enumerate(parts.outputs):
        position = 0
        for chunk in part.chunks():
            if position >= part.header:
                write(chunk)
            elif number == 0:
                write(_numpy_header(parts, chunk, part) if parts.ending == ".npy" else chunk)
            position += len(chunk)


def _numpy_header(parts: Parts, header: bytes, part: FinishedOutput) -> bytes:
    """Return the header for all rows."""
    assert len(header) == NUMPY_HEADER == part.header
    return numpy_header(parts.rows, numpy_hidden(header))


def _write_parquet(parts: Parts, write: Callable[[bytes], object]) -> None:
    """Write the row groups of all parts."""
    import pyarrow.parquet

    from mbert_cli.data.parquet_output import WriteOnlyFile

    writer, file = None, WriteOnlyFile(write)
    for part in parts.outputs:
        for _ in part.chunks():  # checks the hash
            pass
        source = pyarrow.parquet.ParquetFile(part.path)
        writer = writer or pyarrow.parquet.ParquetWriter(file, source.schema_arrow)
        for group in range(source.num_row_groups):
            writer.write_table(source.read_row_group(group))
    assert writer is not None, "there is a part"
    writer.close()
