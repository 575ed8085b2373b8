"""Where commands put what they found: files, folders, the terminal."""

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mbert_cli.errors import UsageError


def check_output(path: Path, force: bool, input_file: str | None = None) -> None:
    """Check that a file may be written.

    Args:
        path: the file.
        force: whether one that exists may be replaced.
        input_file: what it is computed from, if that may be interrupted and gone on with.

    Raises:
        UsageError: it may not.
    """
    from mbert_cli.storage.resumable_output import partial_folder

    if is_stream(path):
        instead = "this command writes a file; name one" if input_file is None else "write to stdout by -o -"
        raise UsageError(f"{path}: is a stream; {instead}.")
    if input_file not in (None, "-") and path.exists() and path.samefile(Path(str(input_file))):
        raise UsageError(f"{path}: is the input; choose another output.")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it.")
    if path.is_symlink():
        raise UsageError(f"{path}: is a symbolic link; name what it points to.")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no regular file; write to - and redirect that.")
    # Pieces of a prediction of this file: `partial_output` knows whether the output is theirs.
    goes_on = input_file is not None and os.path.isfile(input_file) and partial_folder(path).is_dir()
    if path.exists() and not force and not goes_on:
        raise UsageError(f"{path}: exists; replace it with --force, or choose another output.")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first.")


def check_output_folder(path: Path, force: bool, command: str, is_ours: Callable[[Path], bool]) -> None:
    """Check that a folder may be written; one is replaced only if all in it was written by the same command.

    Args:
        path: the folder.
        force: whether one that exists may be replaced.
        command: that writes it, for messages.
        is_ours: whether a folder that was committed is of this command.

    Raises:
        UsageError: it may not be written.
    """
    from mbert_cli.storage.atomic import holds_only_what_was_committed

    if is_stream(path):
        raise UsageError(f"{path}: is a stream; this command writes a folder; name one.")
    parent = path.resolve().parent
    if os.path.exists(path) and not path.is_dir():
        raise UsageError(f"{path}: is a file; name a folder.")
    if not parent.is_dir():
        raise UsageError(f"{path}: there is no folder {parent}; make it first.")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{path}: nothing can be written to {parent}; choose another place.")
    if path.is_dir() and any(path.iterdir()):
        if not (holds_only_what_was_committed(path) and is_ours(path)):
            raise UsageError(f"{path}: holds files that {command} did not write; choose another folder.")
        if not force:
            raise UsageError(f"{path}: exists; replace it with --force, or choose another folder.")


def is_stream(path: Path) -> bool:
    """Whether a name stands for an open stream: `-`, `/dev/stdout`, or what a shell writes for `<(...)`, `>(...)`."""
    names = ("-", "/dev/stdin", "/dev/stdout", "/dev/stderr")
    return str(path) in names or str(path.parent) in ("/dev/fd", "/proc/self/fd")


@contextmanager
def replacing(path: Path) -> Iterator[io.TextIOWrapper]:
    """Write a file beside its place and rename it when it is whole: a failure leaves what was there."""
    from mbert_cli.storage.atomic import put_in_place
    from mbert_cli.storage.disk import disk_errors

    with disk_errors(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            put_in_place(Path(name), path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def print_tables(tables: list[Any]) -> None:
    """Print tables to stdout."""
    from rich.console import Console

    console = Console(highlight=False)
    # Off a terminal nothing is cut to a width that nobody chose.
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    for table in tables:
        console.print(table, crop=False)  # a word that is longer than a line is whole, too


def print_json(value: Any) -> None:
    """Print a value to stdout as one line of JSON."""
    print(json.dumps(value))  # noqa: T201
