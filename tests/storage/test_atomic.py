import errno
import os
import shutil
from pathlib import Path

import pytest
from crashes import REMOVALS, crashes

from mbert_cli.errors import CheckpointError, ResourceError, UsageError
from mbert_cli.storage.atomic import (
    amend_folder,
    amendment,
    check_folder,
    commit_folder,
    committed,
    holds_only_what_was_committed,
    read_json,
    replace_folder,
)
from mbert_cli.storage.model_folder import model_folder
from mbert_cli.storage.run_folder import RunFolder


def write(text):
    return lambda folder: (folder / "a.txt").write_text(text)


def test_a_crash_at_any_change_to_the_disk_leaves_the_old_or_the_new_folder(tmp_path):
    def commit(text):
        return lambda here: commit_folder(here / "model", write(text))

    found = []
    for here in crashes(tmp_path, commit("old"), commit("new")):
        found.append((model_folder(here) / "a.txt").read_text())
        commit("next")(here)
        assert (model_folder(here) / "a.txt").read_text() == "next"
    assert found == sorted(found, reverse=True)
    assert set(found) == {"old", "new"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_or_failing_disk_is_reported_and_leaves_the_old_folder(tmp_path, monkeypatch, code):
    run = RunFolder(tmp_path)
    commit_folder(run.model, write("old"))

    def full(_):
        raise OSError(code, os.strerror(code))

    with pytest.raises(ResourceError, match="disk") as error:
        commit_folder(run.model, full)
    assert error.value.exit_code == 4
    assert (model_folder(run.path) / "a.txt").read_text() == "old"


def test_an_error_while_a_folder_is_written_leaves_no_incomplete_folder(tmp_path):
    def fail(folder):
        (folder / "a.txt").touch()
        raise UsageError("x")

    with pytest.raises(UsageError):
        commit_folder(tmp_path / "x", fail)
    assert not any(tmp_path.iterdir())


def test_a_damaged_file_is_reported_with_both_hashes(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    (tmp_path / "x" / "a.txt").write_text("test")
    with pytest.raises(CheckpointError, match=r"a.txt: was altered: its sha256 is \w{64}, but the manifest has \w{64}"):
        check_folder(tmp_path / "x")
    (tmp_path / "x" / "a.txt").unlink()
    with pytest.raises(CheckpointError, match="a.txt: is missing"):
        check_folder(tmp_path / "x")


def test_other_line_ends_in_a_manifest_are_an_alteration(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    manifest = tmp_path / "x" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(CheckpointError, match=r"manifest\.json: was altered"):
        check_folder(tmp_path / "x")


@pytest.mark.parametrize("path", [".", "", "..", "../x", "/"])
def test_a_committed_folder_is_found_by_a_relative_path(tmp_path, monkeypatch, path):
    commit_folder(tmp_path / "x", write("text"))
    (tmp_path / "x" / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "x" / ("inner" if path == ".." else ""))
    found = committed(Path(path))
    assert found is None if path == "/" else (found / "a.txt").read_text() == "text"


def test_a_name_too_long_for_the_disk_is_refused(tmp_path):
    assert committed(tmp_path / ("x" * 300)) is None
    with pytest.raises(UsageError, match="cannot be written .File name too long"):
        commit_folder(tmp_path / ("x" * 300), write("text"))


def test_replacing_a_folder_touches_nothing_beside_it(tmp_path):
    for name in ("out.new", "out.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").touch()
    replace_folder(tmp_path / "out", write("first"))
    replace_folder(tmp_path / "out", write("second"))
    check_folder(tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "second"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "out.new", "out.old"]
    assert (tmp_path / "out.old" / "thesis.txt").exists()


def test_a_failure_while_replacing_leaves_the_old_or_the_new_folder_and_nothing_else(tmp_path):
    def replace(text):
        return lambda here: replace_folder(here / "out", write(text))

    found = []
    for here in crashes(tmp_path, replace("old"), replace("new"), ignored=REMOVALS):
        found.append((here / "out" / "a.txt").read_text())
        assert [each.name for each in here.iterdir()] == ["out"]
    assert set(found) == {"old", "new"}


def test_a_file_that_was_not_committed_is_detected(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    assert holds_only_what_was_committed(tmp_path / "x")
    (tmp_path / "x" / "deep").mkdir()
    (tmp_path / "x" / "deep" / "thesis.txt").touch()
    assert not holds_only_what_was_committed(tmp_path / "x")
    assert not holds_only_what_was_committed(tmp_path)


def test_a_crash_at_any_change_to_the_disk_leaves_a_folder_as_it_was_or_amended(tmp_path):
    def prepare(here):
        commit_folder(here / "x", write("text"))
        amend_folder(here / "x", "note", '{"turn": 1}')

    turns = []
    for here in crashes(tmp_path, prepare, lambda here: amend_folder(here / "x", "note", '{"turn": 2}')):
        folder = here / "x"
        check_folder(folder)
        assert (folder / "a.txt").read_text() == "text"
        turns.append(read_json(amendment(folder, "note"))["turn"])
        amend_folder(folder, "note", '{"turn": 3}')
        assert len(list(folder.iterdir())) == 3
        assert read_json(amendment(folder, "note")) == {"turn": 3}
    assert turns == sorted(turns)
    assert set(turns) == {1, 2}


def test_the_manifest_has_the_hash_of_an_amendment(tmp_path):
    folder = tmp_path / "x"
    commit_folder(folder, write("text"))
    assert amendment(folder, "note") is None
    manifest = (folder / "manifest.json").read_bytes()
    amend_folder(folder, "note", "{}")
    assert (folder / "manifest.json").read_bytes() != manifest
    amendment(folder, "note").write_text('{"a": 1}')
    with pytest.raises(CheckpointError, match=r"note-[0-9a-f]{8}\.json: was altered"):
        check_folder(folder)
    amendment(folder, "note").unlink()
    with pytest.raises(CheckpointError, match=r"note-[0-9a-f]{8}\.json: is missing"):
        check_folder(folder)


def test_an_altered_folder_is_not_amended(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    (tmp_path / "x" / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"manifest\.json: was altered"):
        amend_folder(tmp_path / "x", "note", "{}")


def test_equal_weights_are_stored_once(tmp_path, monkeypatch):
    def write_weights(at):
        (at / "deep").mkdir()
        (at / "deep" / "model.safetensors").write_bytes(b"weights")
        (at / "config.json").write_text("{}")

    def inode(name, file="deep/model.safetensors"):
        return (tmp_path / name / file).stat().st_ino

    commit_folder(tmp_path / "a", write_weights)
    commit_folder(tmp_path / "b", write_weights, like=[tmp_path / "nowhere", tmp_path / "a"])
    assert inode("a") == inode("b")
    assert inode("a", "config.json") != inode("b", "config.json"), "what may be edited is a file of its own"
    shutil.rmtree(tmp_path / "a")
    check_folder(tmp_path / "b")
    # If the other file is damaged, or the file system has no links, the weights are copied.
    (tmp_path / "b" / "deep" / "model.safetensors").write_bytes(b"damaged")
    commit_folder(tmp_path / "c", write_weights, like=[tmp_path / "b"])
    check_folder(tmp_path / "c")
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    commit_folder(tmp_path / "d", write_weights, like=[tmp_path / "c"])
    check_folder(tmp_path / "d")
    assert inode("c") != inode("d")
    assert sorted(each.name for each in (tmp_path / "d" / "deep").iterdir()) == ["model.safetensors"]
