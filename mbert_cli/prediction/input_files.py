"""The files that the inputs of a command name: files, folders and patterns, on a disk or as URLs.

Must not import torch: fast start-up.
"""

import glob
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mbert_cli.data.hub import PREFIX
from mbert_cli.errors import DataError, UsageError
from mbert_cli.prediction.divided_files import is_joined
from mbert_cli.prediction.output_formats import FormatName
from mbert_cli.prediction.output_paths import output_paths
from mbert_cli.storage.local_copies import local_copy, pinned
from mbert_cli.storage.remote import file_name, files_in, is_url
from mbert_cli.terminal.console import Console

_ENDINGS = (".tsv", ".csv", ".jsonl", ".ndjson", ".parquet", ".txt")
_MIB = 1 << 20


def input_files(inputs: Sequence[str]) -> tuple[list[str], bool]:
    """Return the files of inputs, and whether an input was a folder or a pattern.

    Args:
        inputs: files; folders, for all their tables; patterns such as ``data/*.tsv``. Each can be a URL.

    Raises:
        DataError: a folder has no table, or no file matches the pattern of a URL.
        MbertError: a folder or a pattern is a URL, and its store cannot be read; see `store_errors`.
    """
    given = [plain_path(each) for each in inputs]
    files = [file for each in given for file in (files_in(each, _is_table) if is_url(each) else _local_files(each))]
    return files, files != given


def divided_outputs(
    files: Sequence[str], are_expanded: bool, output: str, force: bool, format_: FormatName, divided_by: str
) -> dict[str, str]:
    """Return the output of each file whose rows are divided among processes.

    Args:
        files: the files.
        are_expanded: whether an input was a folder or a pattern; see `input_files`.
        output: the folder of the outputs; for one file also a file.
        force: replace existing outputs.
        format_: the value of --format.
        divided_by: the option or program that divides the rows, for messages.

    Raises:
        DataError: a file does not exist.
        UsageError: a file can be read only once, or an output cannot be written.
    """
    for file in files:
        check_file(file, divided_by)
    if output == "-":
        raise UsageError(f"{divided_by} writes files; name a file or a folder with -o.")
    in_folder = are_expanded or len(files) > 1 or Path(output).is_dir()
    outputs = [Path(output, file_name(file)) for file in files] if in_folder else [Path(output)]
    # What an interrupted command has joined already is replaced by the same bytes.
    joined = all(is_joined(each) for each in outputs if each.exists())
    return dict(zip(files, output_paths(files, output, force or joined, format_, in_folder), strict=True))


def check_file(given: str, divided_by: str) -> None:
    """Check that an input can be read several times, and by other processes. The store of a URL is not asked.

    Args:
        given: the input.
        divided_by: see `divided_outputs`.

    Raises:
        DataError: it does not exist.
        UsageError: it is standard input, another stream or a data set of the Hub.
    """
    if is_url(given):
        return
    path = Path(given)
    if given == "-" or given.startswith(PREFIX) or (path.exists() and not path.is_file()):
        name = "standard input" if given == "-" else given
        raise UsageError(f"{name}: {divided_by} reads an input several times; save it as a file.")
    if not path.exists():
        raise DataError(f"{given}: does not exist.")


def plain_path(name: str) -> str:
    """Return the path of a URL such as `file:///data/new.tsv`; other names as they are."""
    is_path = name.startswith(("file://", "local://")) and "::" not in name
    return name.partition("://")[2] if is_path else name


def copy_input(name: str, console: Console) -> None:
    """If an input is a URL, copy it to this machine, and show the progress. `Table` uses the copy.

    Args:
        name: the input.
        console: shows the progress.

    Raises:
        MbertError: see `local_copy`.
    """
    if is_url(name):
        size = pinned(name).size
        with console.bar(f"copy {name} (MiB)", None if size is None else size // _MIB) as bar:
            local_copy(name, lambda mebibytes: bar.advance(by=mebibytes))


def _local_files(given: str) -> list[str]:
    path = Path(given)
    if path.is_dir():
        files = sorted(str(each) for each in path.iterdir() if each.is_file() and _is_table(each.name))
        if not files:
            raise DataError(f"{given}: contains no table ({', '.join(_ENDINGS)}); name its files.")
        return files
    matches = [] if path.exists() else glob.glob(given, recursive=True)  # noqa: PTH207 - it may be an absolute path
    return sorted(file for file in matches if Path(file).is_file()) or [given]


def _is_table(name: str) -> bool:
    name = PurePosixPath(name).name.removesuffix(".gz")
    return not name.startswith(".") and name.endswith(_ENDINGS)
