"""Inputs whose rows are divided among processes: files, folders and patterns, and the output of each file.

Must not import torch: fast start-up.
"""

import glob
from collections.abc import Sequence
from pathlib import Path

from mbert_cli.data.hub import PREFIX
from mbert_cli.errors import DataError, UsageError
from mbert_cli.prediction.divided_files import is_joined
from mbert_cli.prediction.output_formats import FormatName
from mbert_cli.prediction.output_paths import output_paths

_ENDINGS = (".tsv", ".csv", ".jsonl", ".ndjson", ".parquet", ".txt")


def outputs_of(inputs: Sequence[str], output: str, force: bool, format_: FormatName, divided_by: str) -> dict[str, str]:
    """Return the output of each input file.

    Args:
        inputs: files; folders, for all their tables; patterns such as ``data/*.tsv``.
        output: the folder of the outputs; for one file also a file.
        force: replace existing outputs.
        format_: the value of --format.
        divided_by: the option or program that divides the rows, for messages.

    Raises:
        DataError: a folder or a pattern has no file.
        UsageError: an input is not a file, or an output cannot be written.
    """
    files = [file for each in inputs for file in _files_of(each, divided_by)]
    if output == "-":
        raise UsageError(f"{divided_by} writes files; name a file or a folder with -o.")
    is_folder = len(files) > 1 or files != list(inputs) or Path(output).is_dir()
    outputs = [str(Path(output, Path(file).name)) for file in files] if is_folder else [output]
    # What an interrupted command has joined already is replaced by the same bytes.
    joined = all(is_joined(Path(each)) for each in outputs if Path(each).exists())
    if is_folder and len(files) == 1:
        Path(output).mkdir(parents=True, exist_ok=True)
        output = outputs[0]
    return dict(zip(files, output_paths(files, output, force or joined, format_), strict=True))


def check_file(given: str, divided_by: str) -> None:
    """Check that an input can be read several times, and by other processes.

    Args:
        given: the input.
        divided_by: see `outputs_of`.

    Raises:
        DataError: it does not exist.
        UsageError: it is standard input, another stream, a URL or a data set of the Hub.
    """
    if "://" in given:
        raise UsageError(f"{given}: is a URL; copy the file to a disk that all machines share, and name it there.")
    path = Path(given)
    if given == "-" or given.startswith(PREFIX) or (path.exists() and not path.is_file()):
        name = "standard input" if given == "-" else given
        raise UsageError(f"{name}: {divided_by} reads an input several times; save it as a file.")
    if not path.exists():
        raise DataError(f"{given}: does not exist.")


def _files_of(given: str, divided_by: str) -> list[str]:
    path = Path(given)
    if path.is_dir():
        files = sorted(str(each) for each in path.iterdir() if each.is_file() and _is_table(each))
        if not files:
            raise DataError(f"{given}: contains no table ({', '.join(_ENDINGS)}); name its files.")
        return files
    matches = [] if path.exists() else glob.glob(given, recursive=True)  # noqa: PTH207 - it may be an absolute path
    files = sorted(file for file in matches if Path(file).is_file())
    if not files:
        check_file(given, divided_by)
    return files or [given]


def _is_table(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    return not name.startswith(".") and name.endswith(_ENDINGS)
