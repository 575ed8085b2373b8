"""The output of commands: folders, tables and JSON."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mbert_cli.errors import UsageError
from mbert_cli.storage.output_file import is_stream


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
