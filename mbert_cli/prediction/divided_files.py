"""Inputs whose rows are divided among processes: each part is computed by one of them, and can be repeated.

Must not import torch: fast start-up.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbert_cli.errors import MbertError
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.local_copies import pinned
from mbert_cli.storage.remote import RemoteFile, is_url

_PARTS_PER_WORKER = 2  # so that a slow process does not keep the others waiting at the end
_LEAST_BYTES = 1 << 20  # of an input for each part
_JOINED = "joined"  # an empty file


@dataclass(frozen=True)
class Part:
    """A part of the rows of an input.

    Args:
        input: the input.
        output: the file of the part.
        number: number of the part, from 1.
        count: number of parts of the input.
        version: if the input is a URL, the version that all parts read; see `RemoteFile`. Empty if it is not known.
    """

    input: str
    output: str
    number: int
    count: int
    version: str = ""


@dataclass(frozen=True)
class PartedFile:
    """An input, its parts, and the output that they are joined to.

    Args:
        input: the input.
        output: the output.
        parts: the parts, in order.
    """

    input: str
    output: Path
    parts: Sequence[Part]


@dataclass(frozen=True)
class PartResult:
    """What became of a part.

    Args:
        input: the input.
        rows: number of rows of the part.
        cut: see `Truncation.counts`.
        limits: the fields of `LengthLimits`.
        notes: what the user should know, one line each.
        problems: why the part could not be computed; none if it was.
        exit_code: the exit code of these problems.
        is_input_bad: whether the input cannot be used as it is, so that its other parts are of no use.
    """

    input: str
    rows: int = 0
    cut: Mapping[str, Sequence[int]] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    exit_code: int = 0
    is_input_bad: bool = False


def parts_folder(output: Path) -> Path:
    """Return the folder of the parts of an output."""
    return output.with_name(f".{output.name}.parts")


def is_joined(output: Path) -> bool:
    """Whether an earlier command, which was interrupted later, has joined the parts of an output."""
    return (parts_folder(output) / _JOINED).exists()


def note_joined(output: Path) -> None:
    """Record that the parts of an output are joined. Call this before the output is written.

    Without this record, an output beside unfinished parts is a file of its own, which only --force replaces.
    """
    file = parts_folder(output) / _JOINED
    with disk_errors(file):
        file.touch()


def divide(files: Mapping[str, str], workers: int) -> list[PartedFile]:
    """Divide inputs into parts, and create their folders.

    The number of parts of an input depends on its size, that of all inputs, and the number of processes. If an earlier
    command has begun, its parts are continued. A URL that cannot be read has one part, which reports the problem.

    Args:
        files: for each input its output.
        workers: number of processes.
    """
    versions = {each: _remote(each) if is_url(each) else None for each in files}
    sizes = {each: (remote.size or 0) if remote else Path(each).stat().st_size for each, remote in versions.items()}
    wanted, total = _PARTS_PER_WORKER * workers, max(1, sum(sizes.values()))
    divided = []
    for input_file, output in files.items():
        size, remote = sizes[input_file], versions[input_file]
        count = max(1, min(-(-size * wanted // total), size // _LEAST_BYTES))
        name, version = (input_file, remote.version) if remote else (str(Path(input_file).absolute()), "")
        divided.append(_parted(name, Path(output).resolve(), count, version))
    return divided


def _remote(url: str) -> RemoteFile:
    try:
        return pinned(url)
    except MbertError:
        return RemoteFile(url, None, "")


def _parted(input_file: str, output: Path, count: int, version: str) -> PartedFile:
    folder = parts_folder(output)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        begun = next((each for each in folder.iterdir() if each.is_dir() and each.name.isdecimal()), None)
        own = begun or folder / str(count)
        own.mkdir(exist_ok=True)
    count = int(own.name)
    numbers = range(1, count + 1)
    parts = [Part(input_file, str(own / f"{number}-{output.name}"), number, count, version) for number in numbers]
    return PartedFile(input_file, output, parts)


def remove_parts(files: Sequence[PartedFile]) -> None:
    """Remove the parts of outputs that are complete, or that cannot be completed."""
    for file in files:
        with disk_errors(file.output):
            shutil.rmtree(parts_folder(file.output))
