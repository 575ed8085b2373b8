import errno
import os
import shutil
from pathlib import Path

import pytest
from crashes import crashes

from mbert_cli.errors import CheckpointError, ResourceError, UsageError
from mbert_cli.storage.atomic import (
    amend_folder,
    amendment,
    check_folder,
    commit_folder,
    committed,
    holds_only_what_was_committed,
    read_json,
    remove_folder,
    replace_file,
)
from mbert_cli.storage.model_folder import model_folder
from mbert_cli.storage.run_folder import RunFolder


def write(text):
    return lambda folder: (folder / "a.txt").write_text(text)


def test_a_crash_at_any_change_to_the_disk_leaves_the_old_or_the_new_folder(tmp_path):
    def commit(text):
        def write_both(folder):
            write(text)(folder)
            (folder / "w.safetensors").write_bytes(b"weights")

        return lambda here: commit_folder(here / "model", write_both, like=[here / "model"])

    found = []
    for here in crashes(tmp_path, commit("old"), commit("new")):
        check_folder(model_folder(here))
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


def test_writing_and_removing_touch_nothing_beside_their_target(tmp_path):
    for name in ("out.new", "out.old", "notes.new", "notes.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").touch()
    commit_folder(tmp_path / "out", write("first"))
    commit_folder(tmp_path / "out", write("second"))
    check_folder(tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "second"
    replace_file(tmp_path / "notes", "first")
    replace_file(tmp_path / "notes", "second")
    names = ["notes", "notes.new", "notes.old", "out", "out.new", "out.old"]
    assert sorted(each.name for each in tmp_path.iterdir()) == names
    remove_folder(tmp_path / "out")
    assert committed(tmp_path / "out") is None
    names.remove("out")
    assert sorted(each.name for each in tmp_path.iterdir()) == names
    assert len(list(tmp_path.glob("*/thesis.txt"))) == 4


@pytest.mark.parametrize("stop", [OSError(errno.EIO, "no"), KeyboardInterrupt()])
def test_a_failure_while_replacing_leaves_the_old_or_the_new_folder_and_nothing_else(tmp_path, monkeypatch, stop):
    """After a failure, the folder has its own name. After a crash it may have another one, which `committed` finds."""
    commit_folder(tmp_path / "out", write("old"))
    rename, calls = Path.rename, []

    def failing(path, target):
        calls.append(path)
        if len(calls) == failing.at:
            raise stop
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    for failing.at in (1, 2):
        calls.clear()
        with pytest.raises((ResourceError, KeyboardInterrupt)):
            commit_folder(tmp_path / "out", write("new"))
        assert (tmp_path / "out" / "a.txt").read_text() == "old"
        assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_symbolic_link_to_a_folder_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "deep" / "real")
    for text in ("old", "new"):
        commit_folder(tmp_path / "out", write(text))
        assert (tmp_path / "deep" / "real" / "a.txt").read_text() == text
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.txt", "deep", "manifest.json", "out", "real"]
    (tmp_path / "deep" / "real").rename(tmp_path / "deep" / ".real.mbert-old")  # as a crash leaves it
    assert (committed(tmp_path / "out") / "a.txt").read_text() == "new"


def test_a_model_that_an_earlier_version_left_is_found_only_after_a_crash_in_a_run(tmp_path):
    """Its temporary folders are NAME.old and NAME.new. One of them alone, or outside a run, belongs to the user."""
    for name in ("old", "new"):
        commit_folder(tmp_path / f"model.{name}", write(name))
    assert committed(tmp_path / "model") is None
    (tmp_path / "recipe.yaml").touch()
    assert committed(tmp_path / "model") == tmp_path / "model.old"
    (tmp_path / "model.new").rename(tmp_path / "kept")
    assert committed(tmp_path / "model") is None
    (tmp_path / "kept").rename(tmp_path / "model.new")
    commit_folder(tmp_path / "model", write("newest"))
    assert committed(tmp_path / "model") == tmp_path / "model"
    remove_folder(tmp_path / "model")
    assert (tmp_path / "model.old" / "a.txt").exists()


def test_a_file_that_was_not_committed_is_detected(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    assert holds_only_what_was_committed(tmp_path / "x")
    (tmp_path / "x" / ".manifest.json.mbert-new").touch()  # a crash while `amend_folder` wrote it
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


@pytest.mark.parametrize("name", ["int8-scores.json", f"int8-{'0' * 16}-{'1' * 16}.safetensors"])
def test_a_derived_file_that_is_copied_with_a_folder_may_change_after_the_commit(tmp_path, name):
    """Such as the scores in int8, if the model card is written again, or if a model is copied to the hub."""

    def write_both(folder):
        write("new")(folder)
        (folder / name).write_text("old scores")

    commit_folder(tmp_path / "model", write_both)
    assert (tmp_path / "model" / name).is_file()
    replace_file(tmp_path / "model" / name, "new scores")
    assert list(check_folder(tmp_path / "model")) == ["a.txt"]
    (tmp_path / "model" / name).unlink()
    check_folder(tmp_path / "model")


def test_a_derived_file_in_the_manifest_of_an_earlier_version_is_not_checked(tmp_path, monkeypatch):
    def write_both(folder):
        write("new")(folder)
        (folder / "int8-scores.json").write_text("old scores")

    with monkeypatch.context() as patch:
        patch.setattr("mbert_cli.storage.atomic.is_derived", lambda name: False)
        commit_folder(tmp_path / "model", write_both)
    replace_file(tmp_path / "model" / "int8-scores.json", "new scores")
    assert len(check_folder(tmp_path / "model")) == 2
