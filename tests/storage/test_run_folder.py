import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from crashes import REMOVALS, crashes
from records import record

from mbert_cli.errors import CheckpointError, DataError, ResourceError, RunInUseError, UsageError
from mbert_cli.model.tensor_files import load_tensors, write_tensors
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
from mbert_cli.storage.metrics_file import metrics_text
from mbert_cli.storage.model_folder import model_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import check_free, locked, model_locked


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
def test_a_full_or_failing_disk_leaves_the_old_folder_and_says_so(tmp_path, monkeypatch, code):
    run = RunFolder(tmp_path)
    commit_folder(run.model, write("old"))

    def full(_):
        raise OSError(code, os.strerror(code))

    with pytest.raises(ResourceError, match="disk") as error:
        commit_folder(run.model, full)
    assert error.value.exit_code == 4
    assert (model_folder(run.path) / "a.txt").read_text() == "old"


def test_damaged_files_are_named_with_both_hashes(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    (tmp_path / "x" / "a.txt").write_text("test")
    with pytest.raises(CheckpointError, match=r"a.txt: was altered: its sha256 is \w{64}, but the manifest has \w{64}"):
        check_folder(tmp_path / "x")
    (tmp_path / "x" / "a.txt").unlink()
    with pytest.raises(CheckpointError, match="a.txt: is missing"):
        check_folder(tmp_path / "x")


def test_a_manifest_with_other_line_ends_was_altered(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    manifest = tmp_path / "x" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(CheckpointError, match=r"manifest\.json: was altered"):
        check_folder(tmp_path / "x")


@pytest.mark.parametrize("path", [".", "", "..", "../x", "/"])
def test_a_folder_may_be_named_relative_to_the_working_folder(tmp_path, monkeypatch, path):
    commit_folder(tmp_path / "x", write("text"))
    (tmp_path / "x" / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "x" / ("inner" if path == ".." else ""))
    found = committed(Path(path))
    assert found is None if path == "/" else (found / "a.txt").read_text() == "text"


def test_a_name_too_long_for_the_disk_is_refused(tmp_path):
    assert committed(tmp_path / ("x" * 300)) is None
    with pytest.raises(UsageError, match="cannot be written .File name too long"):
        commit_folder(tmp_path / ("x" * 300), write("text"))


def test_the_newest_whole_state_is_found_and_older_ones_go(tmp_path):
    run = RunFolder(tmp_path)
    for epoch, step in ((9_999, 0), (9_999, 90), (9_999, 110), (10_000, 0)):
        (run.states / "epoch-9999-step-00000100.new").mkdir(parents=True)  # of a process that died
        run.commit_state(epoch, step, write(f"{epoch} {step}"), keep=2)
    assert sorted(each.name for each in run.states.iterdir()) == ["epoch-10000", "epoch-9999-step-00000110"]
    newest, problems = run.newest_state()
    assert (newest.name, problems) == ("epoch-10000", [])
    (run.states / "epoch-10000" / "a.txt").write_text("spoilt")
    newest, problems = run.newest_state()
    assert newest.name == "epoch-9999-step-00000110"
    assert "epoch-10000" in problems[0]
    (newest / "a.txt").write_text("spoilt")
    with pytest.raises(CheckpointError, match=r"(?s)epoch-10000.*step-00000110.*all states are damaged"):
        run.newest_state()


def test_a_second_process_is_refused_at_once(tmp_path):
    run = RunFolder(tmp_path / "run")
    with locked(run), pytest.raises(RunInUseError, match="in use") as error, locked(RunFolder(run.path)):
        pytest.fail("locked twice")
    assert error.value.exit_code == 3


def test_a_run_that_never_wrote_leaves_no_folder(tmp_path):
    with locked(RunFolder(tmp_path / "runs" / "a" / "b")):
        pass
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs").mkdir()
    with locked(RunFolder(tmp_path / "runs" / "a" / "b")):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]


def test_folders_are_only_used_when_it_was_asked_for(tmp_path):
    run = RunFolder(tmp_path / "run")
    check_free(run, resume=False, force=False)
    with pytest.raises(UsageError, match="no run to resume"):
        check_free(run, resume=True, force=False)
    commit_folder(run.model, write("x"))
    with pytest.raises(
        UsageError, match=r"exists and holds a run; continue it with --resume, or replace it with --force"
    ):
        check_free(run, resume=False, force=False)
    check_free(run, resume=True, force=False)
    check_free(run, resume=False, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        check_free(RunFolder(tmp_path / "other"), resume=False, force=True)
    with pytest.raises(UsageError, match="is a file"):
        check_free(RunFolder(tmp_path / "other" / "thesis.txt"), resume=False, force=False)


def test_clearing_removes_the_run_and_nothing_else(tmp_path):
    run = RunFolder(tmp_path)
    commit_folder(run.model, write("x"))
    commit_folder(run.evaluation, write("x"))
    commit_folder(run.figures, write("x"))
    run.commit_epoch(record(1), write("x"), 2, None)
    run.write_recipe("a: 1\n")
    (tmp_path / "notes.txt").touch()
    run.clear()
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_a_replaced_folder_is_whole_and_nothing_beside_it_is_touched(tmp_path):
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


def test_a_folder_with_a_file_that_was_not_committed_is_known(tmp_path):
    commit_folder(tmp_path / "x", write("text"))
    assert holds_only_what_was_committed(tmp_path / "x")
    (tmp_path / "x" / "deep").mkdir()
    (tmp_path / "x" / "deep" / "thesis.txt").touch()
    assert not holds_only_what_was_committed(tmp_path / "x")
    assert not holds_only_what_was_committed(tmp_path)


def test_a_spoilt_line_of_metrics_is_named(tmp_path):
    run = RunFolder(tmp_path)
    run.commit_epoch(record(1), write("x"), 2, None)
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 2')
    with pytest.raises(DataError, match=r"metrics.jsonl:2: is not JSON .*; remove the line"):
        run.read_metrics()


def test_metrics_of_epochs_that_are_done_again_are_replaced(tmp_path):
    run = RunFolder(tmp_path)
    for epoch, turn in ((1, 0.1), (2, 0.1), (3, 0.1), (2, 0.2)):
        run.commit_epoch(record(epoch, overall=turn), write("x"), 2, None)
    assert run.read_metrics() == [record(1, overall=0.1), record(2, overall=0.2)]


def test_tensors_that_do_not_fit_are_listed_the_first_five(tmp_path):
    write_tensors(tmp_path / "x.safetensors", {f"t{i}": torch.zeros(1) for i in range(7)} | {"bias": torch.zeros(3)})
    with pytest.raises(CheckpointError) as error:
        load_tensors(torch.nn.Linear(2, 2), tmp_path / "x.safetensors")
    assert "weight is missing; t0 is not known" in str(error.value)
    assert "and 4 more" in str(error.value)


def test_metrics_that_were_kept_alone_are_a_run_that_cannot_be_gone_on_with(tmp_path):
    run = RunFolder(tmp_path)
    run.metrics_file.write_text(metrics_text([record(1)]))
    with pytest.raises(UsageError, match="holds the metrics of a run, but no state to resume"):
        check_free(run, resume=True, force=False)
    with pytest.raises(UsageError, match="exists and holds a run"):
        check_free(run, resume=False, force=False)
    check_free(run, resume=False, force=True)


@pytest.mark.parametrize("text", ['{"loss": 0.5}\n', "epoch 1: 0.5\n", ""])
def test_a_file_of_somebody_else_that_has_the_name_of_the_metrics_is_not_replaced(text, tmp_path):
    run = RunFolder(tmp_path)
    run.metrics_file.write_text(text)
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        check_free(run, resume=False, force=True)


def test_what_a_run_left_that_died_at_its_first_write_is_nobodys(tmp_path):
    (tmp_path / "recipe.yaml.new").touch()
    (tmp_path / ".lock").touch()
    run = RunFolder(tmp_path)
    check_free(run, resume=False, force=False)
    with pytest.raises(UsageError, match="no run to resume"):
        check_free(run, resume=True, force=False)
    (tmp_path / "thesis.new").touch()
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        check_free(run, resume=False, force=False)


def test_a_model_without_its_manifest_is_told_from_a_run_without_a_model(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(CheckpointError, match="holds no model; no epoch of this run has been scored yet"):
        model_folder(run.path)
    commit_folder(run.model, write("x"))
    (run.model / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"model/manifest.json: is missing; copy the folder again"):
        model_folder(run.path)


def test_a_part_of_a_run_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="run/state: is a symbolic link"):
        check_free(RunFolder(tmp_path / "run"), resume=False, force=True)
    with (
        pytest.raises(UsageError, match="run/state: is a symbolic link"),
        model_locked(tmp_path / "run"),
    ):
        pytest.fail("held")


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


def test_an_amendment_is_vouched_for_by_the_manifest(tmp_path):
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


def test_a_model_that_cannot_be_written_to_is_not_held(tmp_path, monkeypatch):
    commit_folder(tmp_path / "x", write("text"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"x: is not writable; copy it"), model_locked(tmp_path / "x"):
        pytest.fail("held")


def test_a_model_is_held_by_its_run_and_one_that_was_copied_by_itself(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_recipe("a: 1\n")
    commit_folder(run.model, write("x"))
    for path in (run.path, run.model):
        asked = model_locked(path)
        with locked(run, resume=True), pytest.raises(RunInUseError, match=r"in use .* wait for it to end\."), asked:
            pytest.fail("locked twice")
        with model_locked(path) as folder, pytest.raises(RunInUseError), locked(run, resume=True):
            pytest.fail("locked twice")
        assert folder.resolve() == run.model
    shutil.copytree(run.model, tmp_path / "model")
    with locked(run, resume=True), model_locked(tmp_path / "model") as folder:
        assert folder == tmp_path / "model"
        with pytest.raises(RunInUseError), model_locked(folder):
            pytest.fail("locked twice")
    assert sorted(each.name for each in folder.iterdir()) == ["a.txt", "manifest.json"]


def test_weights_that_are_there_already_are_on_the_disk_once(tmp_path, monkeypatch):
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
    # A damaged twin, or a file system without links: a copy.
    (tmp_path / "b" / "deep" / "model.safetensors").write_bytes(b"damaged")
    commit_folder(tmp_path / "c", write_weights, like=[tmp_path / "b"])
    check_folder(tmp_path / "c")
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    commit_folder(tmp_path / "d", write_weights, like=[tmp_path / "c"])
    check_folder(tmp_path / "d")
    assert inode("c") != inode("d")
    assert sorted(each.name for each in (tmp_path / "d" / "deep").iterdir()) == ["model.safetensors"]
