"""The output file of a command: whether it may be written, and writing it so that a failure leaves the old one."""

import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbert_cli.errors import UsageError
from mbert_cli.storage.remote import is_file


def check_output(path: Path, force: bool, input_file: str | None = None, other: str = "choose another output") -> None:
    """Check that a file may be written.

    Args:
        path: the file.
        force: whether an existing file may be replaced.
        input_file: the input of a command that can resume its output; None if the command cannot.
        other: what the user can do instead of replacing a file, for a message.

    Raises:
        UsageError: the file may not be written.
    """
    from mbert_cli.storage.resumable_output import partial_folder

    if is_stream(path):
        instead = "this command writes a file; name one" if input_file is None else "write to stdout by -o -"
        raise UsageError(f"{path}: is a stream; {instead}.")
    refuse_url(path)
    if input_file not in (None, "-") and path.exists() and os.path.exists(input_file) and path.samefile(input_file):
        raise UsageError(f"{path}: is the input; choose another output.")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it.")
    if path.is_symlink():
        raise UsageError(f"{path}: is a symbolic link; name what it points to.")
    if path.exists() and not path.is_file():
        instead = "name a file" if input_file is None else "write to - and redirect that"
        raise UsageError(f"{path}: is not a regular file; {instead}.")
    # The output of an interrupted command may exist already; `partial_output` knows whether it does.
    is_resumed = input_file is not None and is_file(input_file) and partial_folder(path).is_dir()
    if path.exists() and not force and not is_resumed:
        raise UsageError(f"{path}: exists; replace it with --force, or {other}.")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; create it first.")


def refuse_url(output: str | Path) -> None:
    """Check that an output is not a URL.

    Raises:
        UsageError: it is one.
    """
    if match := re.match(r"([a-z][a-z0-9+.-]+):/+", str(output)):
        raise UsageError(
            f"{match[1]}://{str(output)[match.end() :]}: is a URL, but outputs are local, because an interrupted "
            "command continues with what it has written; name a local path, and upload it afterwards."
        )


def is_stream(path: Path) -> bool:
    """Whether a name stands for an open stream: `-`, `/dev/stdout`, or the name that a shell gives to `<(...)`."""
    names = ("-", "/dev/stdin", "/dev/stdout", "/dev/stderr")
    return str(path) in names or str(path.parent) in ("/dev/fd", "/proc/self/fd")


@contextmanager
def replacing(path: Path) -> Iterator[io.TextIOWrapper]:
    """Write a temporary file beside a path, and rename it at the end of the block. A failure leaves the old file."""
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
