"""Copies of remote files on this machine. The processes of a machine share them.

    CACHE/inputs/<hash of the URL>/lock
    CACHE/inputs/<hash of the URL>/<hash of the version>/NAME

A copy never changes: a new version of the remote file has a folder of its own. A copy gets its name when it is whole.

Must not import torch: fast start-up.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import filelock

from mbert_cli.errors import DataError, UsageError
from mbert_cli.storage.atomic import put_in_place
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.remote import RemoteFile, copy_to, file_name, remote_file, uses_network

CACHE = "MBERT_CACHE"
"""The environment variable that names the cache folder."""
_KEPT = 7 * 24 * 3600  # seconds after its last use until a copy may be removed
_NEW = ".new"

_pinned: dict[str, RemoteFile] = {}


def pinned(url: str) -> RemoteFile:
    """Return the version of a remote file that this process reads: the one at the first call, or that of `pin`.

    A file without a version gets a random one, so that the next command copies it again.

    Raises:
        MbertError: see `store_errors`.
    """
    if url not in _pinned:
        file = remote_file(url)
        _pinned[url] = replace(file, version=file.version or f"unknown {uuid4().hex}")
    return _pinned[url]


def pin(url: str, version: str) -> None:
    """Read a version of a remote file that another process has pinned.

    Args:
        url: its URL.
        version: see `RemoteFile`.
    """
    _pinned[url] = RemoteFile(url, None, version)


def local_copy(url: str, advance: Callable[[int], None] = lambda _: None) -> Path:
    """Return a copy of a remote file on this machine; copy it if necessary.

    If another process copies the file, this one waits for it.

    Args:
        url: its URL.
        advance: see `copy_to`.

    Raises:
        DataError: the file changed while it was read; or `--offline` forbids the network, and there is no copy.
        MbertError: see `store_errors` and `disk_errors`.
    """
    folder = cache_folder() / "inputs" / _digest(url)
    if uses_network(url) and os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return _newest(folder, url)
    file = pinned(url)
    path = folder / _digest(file.version) / file_name(url)
    with disk_errors(folder, f"run the command again, or set {CACHE} to another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.parent.chmod(0o700)  # inputs may be private
        with filelock.FileLock(folder / "lock"):
            if not path.is_file():
                _remove_unused(folder.parent, path.parent)
                _copy(file, path, advance)
            os.utime(path.parent)
    return path


def cache_folder() -> Path:
    """Return the folder of the cache: MBERT_CACHE, or `mbert` in the user's cache folder.

    Raises:
        UsageError: neither the variable nor a home folder exists.
    """
    if own := os.environ.get(CACHE):
        return Path(own).absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mbert"
    except RuntimeError:
        raise UsageError(f"there is no home folder for copies of remote inputs; set {CACHE} to a folder.") from None


def _copy(file: RemoteFile, path: Path, advance: Callable[[int], None]) -> None:
    new = path.with_name(_NEW)
    try:
        copy_to(file.url, new, advance)
        if remote_file(file.url).version not in (file.version, ""):
            raise DataError(f"{file.url}: changed while it was read; run the command again.")
        size = new.stat().st_size
        if file.size not in (size, None):
            raise DataError(f"{file.url}: {size:,} of {file.size:,} bytes arrived; run the command again.")
        with new.open("rb") as written:
            os.fsync(written.fileno())
        put_in_place(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _newest(folder: Path, url: str) -> Path:
    copies = [each for each in folder.glob(f"*/{file_name(url)}") if each.is_file()]
    if not copies:
        raise DataError(f"{url}: has no copy in {folder.parent}, and --offline disables the network; remove it.")
    return max(copies, key=lambda each: each.parent.stat().st_mtime)


def _remove_unused(inputs: Path, own: Path) -> None:
    """Remove copies that were not used for some days."""
    limit = time.time() - _KEPT
    for version in inputs.glob("*/*/"):
        if version != own and version.stat().st_mtime < limit:
            shutil.rmtree(version, ignore_errors=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
