import os
import shutil

import pytest
from records import record

from mbert_cli.errors import RunInUseError, UsageError
from mbert_cli.storage.atomic import (
    commit_folder,
)
from mbert_cli.storage.metrics_file import metrics_text
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import check_free, locked, model_locked


def write(text):
    return lambda folder: (folder / "a.txt").write_text(text)


def test_a_second_process_is_refused_at_once(tmp_path):
    run = RunFolder(tmp_path / "run")
    with locked(run), pytest.raises(RunInUseError, match="in use") as error, locked(RunFolder(run.path)):
        pytest.fail("locked twice")
    assert error.value.exit_code == 3


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path):
    with locked(RunFolder(tmp_path / "runs" / "a" / "b")):
        pass
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs").mkdir()
    with locked(RunFolder(tmp_path / "runs" / "a" / "b")):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]


def test_an_existing_run_is_used_only_with_resume_or_force(tmp_path):
    run = RunFolder(tmp_path / "run")
    check_free(run, resume=False, force=False)
    with pytest.raises(UsageError, match="no run to resume"):
        check_free(run, resume=True, force=False)
    commit_folder(run.model, write("x"))
    with pytest.raises(
        UsageError, match=r"exists and contains a run; continue it with --resume, or replace it with --force"
    ):
        check_free(run, resume=False, force=False)
    check_free(run, resume=True, force=False)
    check_free(run, resume=False, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="is not empty and contains no run"):
        check_free(RunFolder(tmp_path / "other"), resume=False, force=True)
    with pytest.raises(UsageError, match="is a file"):
        check_free(RunFolder(tmp_path / "other" / "thesis.txt"), resume=False, force=False)


@pytest.mark.parametrize("part", ["model", "state", "members/1/model", "data_frames/x"])
def test_a_run_is_not_a_part_of_another_run(part, tmp_path):
    outer, inner = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run" / part)
    outer.path.mkdir()
    check_free(inner, resume=False, force=False)
    outer.write_recipe("a: 1\n")  # of the user, as long as no run was started here
    check_free(inner, resume=False, force=False)
    outer.lock_file.touch()
    for force in (False, True):
        with pytest.raises(UsageError, match=rf"{part} is a part of the run .*run; choose another -o\."):
            check_free(inner, resume=False, force=force)
    for path in (outer.members / "1", outer.path / "more", outer.path / "more" / "model"):
        check_free(RunFolder(path), resume=False, force=False)


def test_metrics_without_a_state_are_a_run_that_cannot_be_resumed(tmp_path):
    run = RunFolder(tmp_path)
    run.metrics_file.write_text(metrics_text([record(1)]))
    with pytest.raises(UsageError, match="contains the metrics of a run, but no state to resume"):
        check_free(run, resume=True, force=False)
    with pytest.raises(UsageError, match="exists and contains a run"):
        check_free(run, resume=False, force=False)
    check_free(run, resume=False, force=True)


@pytest.mark.parametrize("text", ['{"loss": 0.5}\n', "epoch 1: 0.5\n", ""])
def test_another_file_named_like_the_metrics_is_not_replaced(text, tmp_path):
    run = RunFolder(tmp_path)
    run.metrics_file.write_text(text)
    with pytest.raises(UsageError, match="is not empty and contains no run"):
        check_free(run, resume=False, force=True)


def test_leftovers_of_a_run_that_died_at_its_first_write_are_ignored(tmp_path):
    (tmp_path / ".recipe.yaml.mbert-new").touch()
    (tmp_path / "recipe.yaml.new").touch()  # of an earlier version
    (tmp_path / ".lock").touch()
    run = RunFolder(tmp_path)
    check_free(run, resume=False, force=False)
    with pytest.raises(UsageError, match="no run to resume"):
        check_free(run, resume=True, force=False)
    for name in ("thesis.new", ".thesis.mbert-new", "evaluation"):
        (tmp_path / name).touch()
        with pytest.raises(UsageError, match="is not empty and contains no run"):
            check_free(run, resume=False, force=False)
        (tmp_path / name).unlink()


def test_a_symbolic_link_in_a_run_is_refused(tmp_path):
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


def test_a_model_that_is_not_writable_is_not_locked(tmp_path, monkeypatch):
    commit_folder(tmp_path / "x", write("text"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"x: is not writable; copy it"), model_locked(tmp_path / "x"):
        pytest.fail("held")


def test_a_model_is_locked_with_its_run_and_a_copied_one_by_itself(tmp_path):
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
