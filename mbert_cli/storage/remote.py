"""Files that URLs name, such as `s3://bucket/new.tsv`. The library fsspec reads them, with a package for each protocol.

Must not import torch: fast start-up. fsspec is imported only for a URL.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mbert_cli.errors import DataError, MbertError, UsageError, reason_of
from mbert_cli.messages import nearest
from mbert_cli.storage.disk import resource_error

_HTTP = ("http", "https")
# Protocols that do not use the network.
_OF_THIS_MACHINE = ("file", "local", "memory", "zip", "tar")
# The package of each protocol that fsspec does not read alone.
_PACKAGES = {
    "abfs": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hdfs": "pyarrow",
    "http": "aiohttp",
    "https": "aiohttp",
    "oci": "ocifs",
    "oss": "ossfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
    "smb": "smbprotocol",
    "ssh": "paramiko",
    "webdav": "webdav4",
}
# What stores call a value that changes with the contents, the most exact one first; in small letters without signs.
_VERSIONS = (
    *("etag", "contentmd5", "md5hash", "digest", "generation", "sha", "blobid", "crc"),
    *("lastmodified", "mtime", "modified", "modificationtime", "modify", "updated", "lastwritetime", "created"),
)
_MIB = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file in a store.

    Args:
        url: its URL.
        size: number of bytes; None if the store does not report it.
        version: a text that changes when the contents change; empty if the store reports nothing of this kind.
    """

    url: str
    size: int | None
    version: str


def is_url(name: str) -> bool:
    """Whether the name of an input is a URL."""
    return "://" in name


def is_file(name: str) -> bool:
    """Whether an input can be read several times: a file on a disk, or a URL."""
    return is_url(name) or os.path.isfile(name)


def uses_network(url: str) -> bool:
    """Whether a protocol of a URL uses the network."""
    return any(protocol not in _OF_THIS_MACHINE for protocol in _protocols(url))


def file_name(name: str) -> str:
    """Return the name of an input without its folder, and without the query of a web address.

    Raises:
        UsageError: a URL does not end in the name of a file.
    """
    if not is_url(name):
        return Path(name).name
    own = name.split("::")[0]
    if own.startswith(_HTTP):
        own = re.split(r"[?#]", own)[0]
    last = own.partition("://")[2].rpartition("/")[2]
    if last in ("", ".", "..") or "\0" in last:
        raise UsageError(f"{name}: does not end in the name of a file; name a file.")
    return last


def remote_file(url: str) -> RemoteFile:
    """Ask a store for the size and the version of a file.

    Raises:
        MbertError: see `store_errors`.
    """
    with store_errors(url):
        system, path = _open_store(url)
        system.invalidate_cache()
        facts = system.info(path)
        if facts.get("type") == "directory":
            raise DataError(f"{url}: is a folder; end it in /, or name a file in it.")
    values = {re.sub(r"\W|_", "", str(name)).lower(): value for name, value in facts.items()}
    size = values.get("size")
    version = next((f"{name} {values[name]}, {size} bytes" for name in _VERSIONS if values.get(name)), "")
    return RemoteFile(url, size, version)


def copy_to(url: str, path: Path, advance: Callable[[int], None]) -> None:
    """Copy a file from a store to a disk.

    Args:
        url: its URL.
        path: the new file, in an existing folder.
        advance: called after some MiB have been copied, with their number.

    Raises:
        MbertError: see `store_errors`.
    """
    from fsspec.callbacks import Callback

    class Progress(Callback):
        copied = 0  # bytes

        def relative_update(self, inc: int = 1) -> None:
            before, self.copied = self.copied, self.copied + inc
            if whole := self.copied // _MIB - before // _MIB:
                advance(whole)

    with store_errors(url):
        system, source = _open_store(url)
        system.get_file(source, str(path), callback=Progress())


def files_in(url: str, is_table: Callable[[str], bool]) -> list[str]:
    """Return the URLs of the files that a folder or a pattern contains, sorted; the URL itself if it is a file.

    Args:
        url: a file; a folder, which ends in `/` or has no name of a table; or a pattern with `*`, `[` or `?`.
        is_table: whether a name is that of a table. Only tables of a folder are returned.

    Raises:
        DataError: a folder contains no table, or no file matches a pattern.
        MbertError: see `store_errors`.
    """
    own = url.split("::")[0]
    is_web = own.startswith(_HTTP)
    if re.search(r"[*\[]" if is_web else r"[*\[?]", own):
        with store_errors(url):
            system, path = _open_store(url)
            names = [name for name, facts in system.glob(path, detail=True).items() if facts["type"] == "file"]
        problem = "matches no file; correct the pattern"
    elif own.endswith("/") or (not is_web and not is_table(own)):
        with store_errors(url):
            system, path = _open_store(url)
            if not own.endswith("/") and not system.isdir(path):
                return [url]
            listed = [each["name"] for each in system.ls(path, detail=True) if each["type"] == "file"]
        names = [name for name in listed if is_table(name)]
        problem = "contains no table; name its files"
    else:
        return [url]
    if not names:
        raise DataError(f"{url}: {problem}.")
    rest = "".join(f"::{each}" for each in url.split("::")[1:])
    return sorted(system.unstrip_protocol(name) + rest for name in names)


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Replace the errors of a store in a block. Each package has classes of its own, so all classes are replaced.

    Args:
        url: what is read.

    Raises:
        DataError: the file does not exist, access is denied, or the store cannot be reached.
        UsageError: the protocol is unknown, or its package is not installed.
        ResourceError: the disk of a copy is full.
    """
    try:
        yield
    except MbertError:
        raise
    except ImportError as error:
        missing = dict.fromkeys(
            package for each in _protocols(url) if (package := _PACKAGES.get(each)) and find_spec(package) is None
        )
        remedy = f"install it: pip install {' '.join(missing)}" if missing else reason_of(error)
        raise UsageError(f"{url}: needs a package that is not installed; {remedy}.") from None
    except Exception as error:
        raise _explained(url, error) from None


def _explained(url: str, error: Exception) -> MbertError:
    # fsspec raises FileNotFoundError for every error of a web server; its cause is the real error.
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    status = str(getattr(cause, "status", None) or getattr(cause, "code", None))
    code = cause.errno if isinstance(cause, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return resource_error(f"copy of {url}", code, "run the command again") or DataError(str(cause))
    if isinstance(error, ValueError) and str(error).startswith("Protocol not known"):
        known = _known_protocols()
        unknown = next((each for each in _protocols(url) if each not in known), "")
        return UsageError(f"{url}: has the unknown protocol '{unknown}'{nearest(unknown, known)}")
    name = type(cause).__name__
    if status in ("401", "403") or isinstance(cause, PermissionError) or re.search("Credential|Auth|Forbidden", name):
        return DataError(f"{url}: access is denied ({reason_of(cause)}); check your credentials for this store.")
    if status in ("404", "410") or isinstance(cause, FileNotFoundError):
        return DataError(f"{url}: does not exist; correct the name.")
    if isinstance(cause, NotImplementedError):
        return DataError(f"{url}: this store cannot list files; name each file.")
    return DataError(
        f"{url}: cannot be read ({reason_of(cause)}); check the name and the network, and run the command again."
    )


def _open_store(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path of the URL in it."""
    from fsspec.core import url_to_fs

    options = {each: _web_options() for each in _HTTP if each in _protocols(url)}
    system, path = url_to_fs(url, **options)
    return system, path


def _web_options() -> dict[str, Any]:
    """Return the options of aiohttp: proxies of the environment, and no limit on the time of a whole copy."""
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"trust_env": True, "timeout": ClientTimeout(total=None, sock_connect=60, sock_read=60)}}


def _protocols(url: str) -> list[str]:
    # A part of a chained URL can also be a path, or the name of a protocol alone.
    parts = [part if "://" in part or "/" not in part else f"file://{part}" for part in url.split("::")]
    return [part.partition("://")[0] for part in parts]


def _known_protocols() -> list[str]:
    from fsspec import available_protocols

    return list(available_protocols())
