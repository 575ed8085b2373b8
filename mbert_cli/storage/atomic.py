"""Atomic writes of files and folders: a crash at any moment leaves the old version or the new one.

A new file or folder is written as `.NAME.mbert-new` beside its final place, flushed to disk with fsync, and renamed.
The `manifest.json` of a folder contains the SHA-256 of every other file, so that a damaged file is detected.

Must not import torch: fast start-up.
"""

import filecmp
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from mbert_cli.errors import CheckpointError
from mbert_cli.storage.disk import disk_errors

MANIFEST = "manifest.json"
DECISIONS = "decisions"
"""Name of the amendment of a model folder with fitted thresholds and temperatures; see `amend_folder`."""
DERIVED = "int8-"
"""First part of the names of files that are made of the other files of a folder; see `is_derived`."""
INT8_SCORES = f"{DERIVED}scores.json"
"""What int8 costs, as `mbert evaluate` measured it on dev."""
# Suffixes of hidden names. A user may have a file `NAME.new`, but not a file `.NAME.mbert-new`.
_NEW = ".mbert-new"
_OLD = ".mbert-old"


def commit_folder(folder: Path, write: Callable[[Path], None], like: Iterable[Path] = ()) -> None:
    """Write a folder and its manifest, or replace it, atomically.

    1. Write the files and their manifest into `.NAME.mbert-new`, and flush them to disk.
    2. Rename the existing folder, if there is one, to `.NAME.mbert-old`.
    3. Rename `.NAME.mbert-new` to `NAME`; flush the parent folder to disk.
    4. Remove `.NAME.mbert-old`.

    A crash before step 2 leaves `NAME`; between 2 and 3, `.NAME.mbert-old`; after 3, the new `NAME`. `committed` finds
    it. An error in step 1 removes `.NAME.mbert-new`; an error in step 3 brings the existing folder back.

    Args:
        folder: the folder.
        write: writes the files into the folder that it is given.
        like: committed folders. Weights that one of them also contains are stored once, as a hard link.

    Raises:
        ResourceError: the disk is full.
    """
    place = folder.resolve()
    new, old = _beside(place, _NEW), _beside(place, _OLD)
    with disk_errors(folder):
        shutil.rmtree(new, ignore_errors=True)
        try:
            _write_whole(new, write, like)
            if place.exists():
                shutil.rmtree(old, ignore_errors=True)
                place.rename(old)
            new.rename(place)
        except (Exception, KeyboardInterrupt):
            if os.path.exists(old) and not os.path.exists(place):
                old.rename(place)
            shutil.rmtree(new, ignore_errors=True)  # leave no incomplete folder; frees the space on a full disk
            raise
        _sync(place.parent)
        shutil.rmtree(old, ignore_errors=True)


def _write_whole(new: Path, write: Callable[[Path], None], like: Iterable[Path]) -> None:
    new.mkdir(parents=True)
    write(new)
    files = sorted(path for path in new.rglob("*") if path.is_file())
    for path in files:
        give_rights(path)
    hashes = {path.relative_to(new).as_posix(): sha256_of(path) for path in files if not is_derived(path.name)}
    (new / MANIFEST).write_text(_manifest(hashes), encoding="utf-8")
    _share(new, hashes, like)
    for path in (*files, new / MANIFEST, *(path for path in new.rglob("*") if path.is_dir()), new):
        _sync(path)


def _share(new: Path, hashes: Mapping[str, str], like: Iterable[Path]) -> None:
    """Replace weights by hard links to equal files of committed folders, if the file system supports links.

    Links are safe: a file of a committed folder is never written to again, and each link can be removed alone. The
    bytes are compared, not just the hashes, because the other file may have been damaged since its commit.
    """
    twins: dict[str, Path] = {}
    for folder in like:
        with suppress(CheckpointError):
            twins |= {sha256: folder / name for name, sha256 in hashes_in(folder).items()}
    for name, sha256 in hashes.items():
        if name.endswith(".safetensors") and sha256 in twins:
            file, link = new / name, new / f"{name}.link"
            with suppress(OSError):  # different file systems, or no support for links: keep the copy
                if filecmp.cmp(file, twins[sha256], shallow=False):
                    os.link(twins[sha256], link)
                    link.replace(file)


def committed(folder: Path) -> Path | None:
    """Return the folder if it is committed; after a crash, `.NAME.mbert-old`; None if there is no committed folder."""
    places = (folder, _beside(folder.resolve(), _OLD), *_of_an_earlier_version(folder))
    return next((each for each in places if os.path.isfile(each / MANIFEST)), None)


def _of_an_earlier_version(folder: Path) -> list[Path]:
    """Return `NAME.old` if an earlier version of mbert crashed between its two renames; otherwise nothing.

    It then lies in a run folder, beside a complete `NAME.new`. Any other `NAME.old` belongs to the user.
    """
    new, old = (folder.parent / f"{folder.name}{suffix}" for suffix in (".new", ".old"))
    crashed = not os.path.exists(folder) and os.path.isfile(new / MANIFEST)
    return [old] if crashed and os.path.isfile(folder.parent / "recipe.yaml") else []


def remove_folder(folder: Path) -> None:
    """Remove a committed folder, and what a crash may have left beside it."""
    for each in (folder, *(_beside(folder.resolve(), suffix) for suffix in (_NEW, _OLD))):
        shutil.rmtree(each, ignore_errors=True)


def holds_only_what_was_committed(folder: Path) -> bool:
    """Whether the manifest of `commit_folder` names every file in a folder."""
    if not (folder / MANIFEST).is_file():
        return False
    known = {MANIFEST, *hashes_in(folder)}
    files = [path for path in folder.rglob("*") if not path.is_dir() and not is_derived(finished(path).name)]
    return all(path.relative_to(folder).as_posix() in known or left_by_a_crash(path) for path in files)


def is_derived(name: str) -> bool:
    """Whether a file is made of the others and not part of the commit: weights or scores in int8, whole or not."""
    weights = re.fullmatch(DERIVED + r"[0-9a-f]{16}-[0-9a-f]{16}\.safetensors\w*", name)
    return weights is not None or name.startswith(INT8_SCORES)


def check_folder(folder: Path, later: Callable[[str], bool] = lambda _: False) -> dict[str, str]:
    """Check the manifest of a committed folder, and the SHA-256 of every file that it names.

    Args:
        folder: the folder.
        later: whether a file, given its name in the manifest, is not checked now, because `check_file` checks it when
            it is read.

    Returns:
        The SHA-256 of each file, by its name in the manifest.

    Raises:
        CheckpointError: a file is missing or was altered, or the manifest does not name a file with weights.
    """
    hashes = hashes_in(folder)
    for name, expected in hashes.items():
        if not later(name) and not is_derived(PurePosixPath(name).name):  # earlier versions named these files, too
            check_file(folder / name, expected)
    for path in sorted(folder.rglob("*.safetensors")):
        if path.relative_to(folder).as_posix() not in hashes and not is_derived(path.name):
            raise CheckpointError(f"{path}: is not in the manifest of its folder; remove it.")
    return hashes


def check_file(path: Path, expected: str) -> None:
    """Check the SHA-256 of a file of a committed folder.

    Raises:
        CheckpointError: the file is missing or was altered.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"{path}: is missing; copy the folder again, or train again.")
    actual = sha256_of(path)
    if actual != expected:
        raise CheckpointError(f"{path}: was altered: its sha256 is {actual}, but the manifest has {expected}.")


def amend_folder(folder: Path, name: str, text: str) -> None:
    """Add a small JSON file to a committed folder, or replace it, atomically. No other file changes.

    The file is called NAME-<eight digits of its SHA-256>.json. The new file is written beside the old one. Then the
    manifest is replaced, which names the new file instead of the old one, and the old file is removed. A crash at any
    moment leaves the folder with the old file or with the new one. `amendment` finds it.

    Args:
        folder: a committed folder.
        name: the first part of the file's name.
        text: the content of the file.

    Raises:
        CheckpointError: the manifest of the folder was altered.
        ResourceError: the disk is full.
        UsageError: the folder is not writable.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()
    new = folder / amendment_name(name, text)
    others = {each: sha256 for each, sha256 in hashes_in(folder).items() if not _is_amendment(each, name)}
    replace_file(new, text)
    replace_file(folder / MANIFEST, _manifest({**others, new.name: digest}))
    with disk_errors(folder):
        for each in folder.iterdir():
            if _is_amendment(finished(each).name, name) and each != new:
                each.unlink()


def amendment_name(name: str, text: str) -> str:
    """Return the name of the file that `amend_folder` writes."""
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"


def amendment(folder: Path, name: str) -> Path | None:
    """Return the file that `amend_folder` added to a folder; None if there is none."""
    return next((folder / each for each in hashes_in(folder) if _is_amendment(each, name)), None)


def _is_amendment(file: str, name: str) -> bool:
    return re.fullmatch(re.escape(name) + r"-[0-9a-f]{8}\.json", file) is not None


def _manifest(hashes: dict[str, str]) -> str:
    # With its own hash, so that damage to the manifest is detected as well.
    content = {"sha256": hashes, "manifest_sha256": hashlib.sha256(json.dumps(hashes).encode()).hexdigest()}
    return json.dumps(content, indent=2) + "\n"


def hashes_in(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in the manifest of a committed folder, by its name.

    Raises:
        CheckpointError: the manifest was altered; or it names a file outside its folder.
    """
    path = folder / MANIFEST
    hashes = read_json(path).get("sha256")
    # Compare bytes: text mode would hide a change of the line ends.
    if not isinstance(hashes, dict) or path.read_bytes() != _manifest(hashes).encode():
        raise CheckpointError(f"{path}: was altered; copy the folder again, or train again.")
    for name in hashes:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise CheckpointError(f"{path}: names '{name}', which lies outside its folder.")
    return hashes


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file cannot be read, or it contains no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must contain a JSON object.")
    return content


def replace_file(path: Path, content: str | bytes) -> None:
    """Write or replace a file atomically; text is encoded as UTF-8."""
    new = _beside(path, _NEW)
    with disk_errors(path):
        try:
            new.write_bytes(content.encode() if isinstance(content, str) else content)
            _sync(new)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def put_in_place(written: Path, path: Path) -> None:
    """Rename a temporary file, which was flushed to disk, to its final name; set the permissions of a new file."""
    give_rights(written)
    written.replace(path)
    _sync(path.parent)


def give_rights(path: Path) -> None:
    """Set the permissions of a file to those of the umask. Temporary files of libraries have 0600 instead."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def left_by_a_crash(path: Path) -> bool:
    """Whether a path has the name of an incomplete file or folder, as a crash may leave it."""
    return finished(path) != path


def finished(path: Path) -> Path:
    """Return the final path for the hidden name of an incomplete file or folder; return any other path unchanged."""
    match = re.fullmatch(rf"\.(.+)(?:{re.escape(_NEW)}|{re.escape(_OLD)})", path.name)
    return path if match is None else path.with_name(match[1])


def _beside(path: Path, suffix: str) -> Path:
    whole = path.resolve() if path.name in ("", "..") else path  # "." has a name after resolving
    return whole.parent / f".{whole.name}{suffix}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
