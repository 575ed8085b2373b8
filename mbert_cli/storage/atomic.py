"""Files and folders that are put in place whole: a crash at any moment leaves the old or the new one. No torch here.

A folder is written beside its place under a name that nobody reads, forced to disk, and renamed. `manifest.json` in it
holds the SHA-256 of every other file, so that a damaged one is known.
"""

import filecmp
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from mbert_cli.errors import CheckpointError
from mbert_cli.storage.disk import disk_errors

MANIFEST = "manifest.json"
DECISIONS = "decisions"
"""The amendment of a model folder that holds fitted thresholds and temperatures."""
_NEW = ".new"
_OLD = ".old"


def commit_folder(folder: Path, write: Callable[[Path], None], like: Iterable[Path] = ()) -> None:
    """Put a folder in place so that a crash at any moment leaves the old or the new one to be found.

    1. Write the files and their manifest into `NAME.new`, and force them to disk.
    2. Rename the present folder, if any, to `NAME.old`.
    3. Rename `NAME.new` to `NAME`; force the parent to disk.
    4. Remove `NAME.old`.

    A crash before 2 leaves `NAME`; between 2 and 3, `NAME.old`; after 3, the new `NAME`. `committed` finds it.

    Args:
        folder: its place.
        write: writes the files into the folder it is given.
        like: committed folders; weights that one of them holds already are on the disk once, under two names.

    Raises:
        ResourceError: the disk is full.
    """
    new, old = _beside(folder, _NEW), _beside(folder, _OLD)
    with disk_errors(folder):
        shutil.rmtree(new, ignore_errors=True)
        try:
            _write_whole(new, write, like)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)  # it shall not keep a disk full
            raise
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def _write_whole(new: Path, write: Callable[[Path], None], like: Iterable[Path]) -> None:
    new.mkdir(parents=True)
    write(new)
    files = sorted(path for path in new.rglob("*") if path.is_file())
    for path in files:
        give_rights(path)
    hashes = {path.relative_to(new).as_posix(): sha256_of(path) for path in files}
    (new / MANIFEST).write_text(_manifest(hashes), encoding="utf-8")
    _share(new, hashes, like)
    for path in (*files, new / MANIFEST, *(path for path in new.rglob("*") if path.is_dir()), new):
        _sync(path)


def _share(new: Path, hashes: Mapping[str, str], like: Iterable[Path]) -> None:
    """Replace weights by hard links to equal files of committed folders, where the file system has such.

    No file of a committed folder is ever written to, and each name can be removed without the other. A twin that was
    damaged since is not linked to: the bytes are compared, not the hashes alone.
    """
    twins: dict[str, Path] = {}
    for folder in like:
        with suppress(CheckpointError):
            twins |= {sha256: folder / name for name, sha256 in _hashes(folder).items()}
    for name, sha256 in hashes.items():
        if name.endswith(".safetensors") and sha256 in twins:
            file, link = new / name, new / f"{name}.link"
            with suppress(OSError):  # another file system, or one without links: the copy stays
                if filecmp.cmp(file, twins[sha256], shallow=False):
                    os.link(twins[sha256], link)
                    link.replace(file)


def committed(folder: Path) -> Path | None:
    """Return where a folder that was committed is to be found: in its place, or beside it after a crash."""
    return next((each for each in (folder, _beside(folder, _OLD)) if os.path.isfile(each / MANIFEST)), None)


def remove_folder(folder: Path) -> None:
    """Remove a folder that was committed, with what a crash may have left beside it."""
    for each in (folder, _beside(folder, _NEW), _beside(folder, _OLD)):
        shutil.rmtree(each, ignore_errors=True)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Put a folder in place among the user's own: nothing beside it is touched, and a failure leaves the old one.

    Args:
        folder: its place; what is there is replaced. Its parent exists.
        write: writes the files into the folder it is given.

    Raises:
        ResourceError: the disk is full.
        UsageError: the place cannot be written to.
    """
    folder = folder.resolve()
    with disk_errors(folder):
        own = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            commit_folder(own / "new", write)
            if folder.exists():
                folder.rename(own / "old")
            (own / "new").rename(folder)
            _sync(folder.parent)
        except BaseException:
            if (own / "old").exists() and not folder.exists():
                (own / "old").rename(folder)
            raise
        finally:
            shutil.rmtree(own, ignore_errors=True)


def holds_only_what_was_committed(folder: Path) -> bool:
    """Whether every file of a folder stands in the manifest that `commit_folder` wrote for it."""
    if not (folder / MANIFEST).is_file():
        return False
    known = {MANIFEST, *_hashes(folder)}
    return all(path.relative_to(folder).as_posix() in known for path in folder.rglob("*") if not path.is_dir())


def check_folder(folder: Path) -> None:
    """Check the manifest of a committed folder, and the SHA-256 of every file that it names.

    Raises:
        CheckpointError: a file is missing or altered, or there are weights that the manifest does not name.
    """
    hashes = _hashes(folder)
    for name, expected in hashes.items():
        path = folder / name
        if not os.path.isfile(path):
            raise CheckpointError(f"{path}: is missing; copy the folder again, or train anew.")
        actual = sha256_of(path)
        if actual != expected:
            raise CheckpointError(f"{path}: was altered: its sha256 is {actual}, but {expected} is expected.")
    for path in sorted(folder.rglob("*.safetensors")):
        if path.relative_to(folder).as_posix() not in hashes:
            raise CheckpointError(f"{path}: was not saved with its folder; remove it.")


def amend_folder(folder: Path, name: str, text: str) -> None:
    """Put a small file into a committed folder, in place of an earlier one, while all else in it stays as it is.

    It is called NAME-<eight digits of its SHA-256>.json, so that the new one can lie beside the old one until the
    manifest, which is replaced at once, names the one and not the other: a crash at any moment leaves the folder as it
    was or as it shall be. `amendment` finds it.

    Args:
        folder: was committed.
        name: of the file, without what is added.
        text: what it holds, JSON.

    Raises:
        CheckpointError: the folder's manifest was altered.
        ResourceError: the disk is full.
        UsageError: the folder cannot be written to.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()
    new = folder / f"{name}-{digest[:8]}.json"
    others = {each: sha256 for each, sha256 in _hashes(folder).items() if not _is_amendment(each, name)}
    replace_file(new, text)
    replace_file(folder / MANIFEST, _manifest({**others, new.name: digest}))
    with disk_errors(folder):
        for each in folder.iterdir():
            if _is_amendment(each.name.removesuffix(_NEW), name) and each != new:
                each.unlink()


def amendment(folder: Path, name: str) -> Path | None:
    """Return the file that `amend_folder` put into a folder; None where it put none."""
    return next((folder / each for each in _hashes(folder) if _is_amendment(each, name)), None)


def _is_amendment(file: str, name: str) -> bool:
    return re.fullmatch(re.escape(name) + r"-[0-9a-f]{8}\.json", file) is not None


def _manifest(hashes: dict[str, str]) -> str:
    # The last line is the manifest's own hash: an altered one shall not vouch for altered files by accident.
    content = {"sha256": hashes, "manifest_sha256": hashlib.sha256(json.dumps(hashes).encode()).hexdigest()}
    return json.dumps(content, indent=2) + "\n"


def _hashes(folder: Path) -> dict[str, str]:
    """Return a manifest's names and hashes, once it is seen to be what `commit_folder` wrote.

    Raises:
        CheckpointError: it is not; or a name leads out of the folder.
    """
    path = folder / MANIFEST
    content = read_json(path)
    found = content.get("sha256")
    # Folders from before the manifest's own hash hold the names only.
    texts = (_manifest(found), json.dumps({"sha256": found}, indent=2) + "\n") if isinstance(found, dict) else ()
    # Its bytes: text would be the same with other line ends.
    if not isinstance(found, dict) or path.read_bytes() not in [text.encode() for text in texts]:
        raise CheckpointError(f"{path}: was altered; copy the folder again, or train anew.")
    for name in found:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise CheckpointError(f"{path}: names '{name}', which lies outside its folder.")
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: must hold a JSON object.")
    return found


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a crash leaves the old or the new one."""
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
    """Rename a file that was written beside its place and forced to disk, and give it the rights of a new file."""
    give_rights(written)
    written.replace(path)
    _sync(path.parent)


def give_rights(path: Path) -> None:
    """Give a file the rights that the umask says; libraries that write temporary files first leave it 0600."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def left_by_a_crash(path: Path) -> bool:
    """Whether a path is what a crash may leave of a file or folder of that name: to be overwritten, not to be read."""
    return path.suffix in (_NEW, _OLD)


def _beside(path: Path, suffix: str) -> Path:
    whole = path.resolve() if path.name in ("", "..") else path  # `.` has a name, too
    return whole.parent / f"{whole.name}{suffix}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
