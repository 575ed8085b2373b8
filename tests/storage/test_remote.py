"""Files that URLs name, and their copies on this machine."""

import errno
import http.server
import os
import threading
import time
import zipfile
from pathlib import Path

import filelock
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mbert_cli.errors import DataError, ResourceError, UsageError
from mbert_cli.storage import local_copies, remote
from mbert_cli.storage.local_copies import local_copy, pin, pinned
from mbert_cli.storage.output_file import refuse_url
from mbert_cli.storage.remote import file_name, files_in, remote_file


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store `memory://`, and an empty cache."""
    monkeypatch.setenv("MBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(local_copies, "_pinned", {})
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


class Failing(MemoryFileSystem):
    """A store whose files raise the error that the test sets."""

    protocol = "failing"
    error: Exception

    def info(self, path, **options):
        raise self.error


fsspec.register_implementation("failing", Failing, clobber=True)


def new_command(monkeypatch):
    """Forget the versions that the process has pinned, as another process would not know them."""
    monkeypatch.setattr(local_copies, "_pinned", {})


def test_a_file_is_copied_once(store, monkeypatch):
    store.pipe("/a.tsv", b"one")
    copy = local_copy("memory://a.tsv")
    assert (copy.name, copy.read_bytes()) == ("a.tsv", b"one")
    new_command(monkeypatch)
    monkeypatch.setattr(local_copies, "copy_to", None)  # raises an error if it is called
    assert local_copy("memory://a.tsv") == copy


def test_a_changed_file_is_copied_again_and_the_old_copy_stays(store, monkeypatch):
    store.pipe("/a.tsv", b"one")
    old = local_copy("memory://a.tsv")
    store.pipe("/a.tsv", b"two")
    assert local_copy("memory://a.tsv") == old  # a process reads one version
    new_command(monkeypatch)
    assert local_copy("memory://a.tsv").read_bytes() == b"two"
    assert old.read_bytes() == b"one"


def test_a_file_without_a_version_is_copied_by_every_command_once(store, monkeypatch):
    store.pipe("/a.tsv", b"one")
    monkeypatch.setattr(remote, "_VERSIONS", ())
    copy, version = local_copy("memory://a.tsv"), pinned("memory://a.tsv").version
    new_command(monkeypatch)
    assert local_copy("memory://a.tsv") != copy
    pin("memory://a.tsv", version)  # as a worker of the first command
    assert local_copy("memory://a.tsv") == copy


def test_a_file_that_changes_while_it_is_read_is_reported_and_leaves_no_copy(store, tmp_path):
    store.pipe("/a.tsv", b"one")
    pin("memory://a.tsv", "an older version")
    with pytest.raises(DataError, match=r"memory://a.tsv: changed while it was read; run the command again"):
        local_copy("memory://a.tsv")
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == ["lock"]


def test_a_copy_that_is_cut_off_is_reported(store, monkeypatch):
    store.pipe("/a.tsv", b"one")
    monkeypatch.setattr(local_copies, "copy_to", lambda url, path, advance: path.write_bytes(b"o"))
    with pytest.raises(DataError, match=r"a.tsv: 1 of 3 bytes arrived"):
        local_copy("memory://a.tsv")


def test_a_full_disk_is_reported(store, monkeypatch):
    store.pipe("/a.tsv", b"one")
    monkeypatch.setattr(MemoryFileSystem, "get_file", raises(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(ResourceError, match="the disk is full"):
        local_copy("memory://a.tsv")


def raises(error):
    def function(*_, **__):
        raise error

    return function


def test_a_process_waits_for_the_copy_of_another(store, monkeypatch):
    store.pipe("/a.tsv", b"one")
    copy = local_copy("memory://a.tsv")
    content, copies = copy.read_bytes(), []
    copy.unlink()
    with filelock.FileLock(copy.parents[1] / "lock"):
        thread = threading.Thread(target=lambda: copies.append(local_copy("memory://a.tsv")))
        thread.start()
        thread.join(0.2)
        assert copies == []
        copy.write_bytes(content)
        monkeypatch.setattr(local_copies, "copy_to", None)
    thread.join()
    assert copies == [copy]


def test_copies_that_were_not_used_for_a_week_are_removed(store):
    for name in "abc":
        store.pipe(f"/{name}.tsv", b"one")
    old, used = local_copy("memory://a.tsv"), local_copy("memory://b.tsv")
    for copy, days in ((old, 8), (used, 6)):
        then = time.time() - days * 24 * 3600
        os.utime(copy.parent, (then, then))
    local_copy("memory://c.tsv")
    assert (old.exists(), used.exists()) == (False, True)


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("MBERT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert local_copies.cache_folder() == tmp_path / "mbert"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert local_copies.cache_folder() == Path("/home/ada/.cache/mbert")


def test_folders_and_patterns_of_a_store(store):
    for name in ("b.tsv", "a.csv.gz", "notes.md", "more/c.tsv"):
        store.pipe(f"/in/{name}", b"text")

    def is_table(name):
        return name.endswith((".tsv", ".gz"))

    tables = ["memory:///in/a.csv.gz", "memory:///in/b.tsv"]
    assert files_in("memory://in/", is_table) == files_in("memory://in", is_table) == tables
    assert files_in("memory://in/*.tsv", is_table) == ["memory:///in/b.tsv"]
    assert files_in("memory://in/**/*.tsv", is_table) == ["memory:///in/b.tsv", "memory:///in/more/c.tsv"]
    assert files_in("memory://in/b.tsv", is_table) == ["memory://in/b.tsv"]
    with pytest.raises(DataError, match="matches no file"):
        files_in("memory://in/*.parquet", is_table)
    with pytest.raises(DataError, match="contains no table"):
        files_in("memory://in/", lambda name: False)


def test_files_inside_an_archive(store, tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("a.tsv", "one")
    (url,) = files_in(f"zip://*.tsv::{tmp_path}/in.zip", str)
    assert url == f"zip://a.tsv::{tmp_path}/in.zip"
    assert local_copy(url).read_bytes() == b"one"
    assert remote_file(url).version  # the checksum of the archive


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("in/a.tsv", "a.tsv"),
        ("s3://bucket/in/a.tsv", "a.tsv"),
        ("https://host/in/a.tsv?key=1/2#top", "a.tsv"),
        ("s3://bucket/a?.tsv", "a?.tsv"),
        ("zip://in/a.tsv::https://host/b.zip", "a.tsv"),
    ],
)
def test_the_name_of_an_output_is_that_of_the_file(name, expected):
    assert file_name(name) == expected


@pytest.mark.parametrize("url", ["s3://bucket/", "s3://bucket/..", "https://host/?a.tsv"])
def test_a_url_without_a_file_name_is_refused(url):
    with pytest.raises(UsageError, match="does not end in the name of a file"):
        file_name(url)


class NoCredentialsError(Exception):
    """As botocore's."""


class StatusError(Exception):
    """As an error of a web library."""

    def __init__(self, status):
        self.status = status


def caused_by(cause):
    error = FileNotFoundError("failing://a.tsv")  # as fsspec raises for web servers
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError("a.tsv"), "does not exist; correct the name."),
        (caused_by(StatusError(404)), "does not exist; correct the name."),
        (caused_by(StatusError(403)), "access is denied (403); check your credentials for this store."),
        (PermissionError("Forbidden"), "access is denied (Forbidden); check your credentials for this store."),
        (NoCredentialsError("Unable to locate"), "access is denied (Unable to locate); check your credentials"),
        (
            caused_by(OSError("Cannot connect to host")),
            "cannot be read (Cannot connect to host); check the name and the",
        ),
        (TimeoutError(), "cannot be read (TimeoutError); check the name and the network, and run the command again."),
        (NotImplementedError(), "this store cannot list files; name each file."),
    ],
)
def test_errors_of_a_store_name_the_reason_and_the_remedy(error, message, monkeypatch):
    monkeypatch.setattr(Failing, "error", error, raising=False)
    with pytest.raises(DataError) as raised:
        remote_file("failing://a.tsv")
    assert str(raised.value).startswith(f"failing://a.tsv: {message}")
    assert raised.value.exit_code == 2


def test_an_unknown_protocol_is_refused():
    with pytest.raises(UsageError, match="S3://a.tsv: has the unknown protocol 'S3'.*'s3'"):
        remote_file("S3://a.tsv")


def test_the_package_of_a_protocol_is_named(monkeypatch):
    monkeypatch.setattr(remote, "find_spec", lambda package: None)
    monkeypatch.setattr(remote, "_open_store", raises(ImportError("Install s3fs to access S3")))
    with pytest.raises(UsageError, match=r"s3://b/a.tsv: needs a package .*; install it: pip install s3fs\."):
        remote_file("s3://b/a.tsv")


def test_offline_reads_the_newest_copy_and_uses_no_network(store, monkeypatch):
    pin("https://host/a.tsv", "1")
    monkeypatch.setattr(local_copies, "copy_to", lambda url, path, advance: path.write_bytes(b"one"))
    monkeypatch.setattr(local_copies, "remote_file", lambda url: remote.RemoteFile(url, 3, "1"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    copy = local_copy("https://host/a.tsv")
    new_command(monkeypatch)
    monkeypatch.setattr(local_copies, "remote_file", None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert local_copy("https://host/a.tsv") == copy
    with pytest.raises(DataError, match=r"https://host/b.tsv: has no copy in .*, and --offline disables the network"):
        local_copy("https://host/b.tsv")


@pytest.mark.parametrize("output", ["s3://bucket/out", Path("s3://bucket/out")])
def test_an_output_that_is_a_url_is_refused(output):
    with pytest.raises(UsageError, match="s3://bucket/out: is a URL, but outputs are local"):
        refuse_url(output)
    refuse_url("out:1/a.tsv")


@pytest.fixture
def server(store, tmp_path, monkeypatch):
    """The address of a web server, which refuses `/secret.tsv`, and the folder of its files."""
    pytest.importorskip("aiohttp")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given):
            super().__init__(*given, directory=tmp_path / "web")

        def send_head(self):
            return self.send_error(403) if self.path == "/secret.tsv" else super().send_head()

        def log_message(self, *_):
            pass

    (tmp_path / "web").mkdir()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", tmp_path / "web"
        running.shutdown()


def test_files_of_a_web_server(server, monkeypatch):
    address, folder = server
    (folder / "a.tsv").write_bytes(b"one")
    copy = local_copy(f"{address}/a.tsv?key=1")
    assert (copy.name, copy.read_bytes()) == ("a.tsv", b"one")
    assert files_in(f"{address}/*.tsv", str) == [f"{address}/a.tsv"]
    (folder / "a.tsv").write_bytes(b"two")
    os.utime(folder / "a.tsv", (0, 0))  # the server's Last-Modified
    new_command(monkeypatch)
    assert local_copy(f"{address}/a.tsv?key=1").read_bytes() == b"two"
    for name, problem in (("b", "does not exist"), ("secret", r"access is denied .*403")):
        with pytest.raises(DataError, match=f"/{name}.tsv: {problem}"):
            remote_file(f"{address}/{name}.tsv")
    with pytest.raises(DataError, match=r"http://127.0.0.1:1/a.tsv: cannot be read \(Cannot connect to host"):
        remote_file("http://127.0.0.1:1/a.tsv")
