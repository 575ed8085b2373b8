import pytest

from mbert_cli.errors import RunInUseError, UsageError
from mbert_cli.storage.output_folder import OutputFolder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked


def folder(path, force=True):
    return OutputFolder(path, force, command="mbert x", is_ours=lambda _: True)


@pytest.mark.parametrize("inner", ["model", "members/1/model", "notes"])
def test_a_folder_inside_a_run_is_written_only_while_no_other_process_uses_the_run(inner, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_recipe("a: 1\n")
    path = run.path / inner
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(at):
        with pytest.raises(RunInUseError), locked(run, resume=True):
            pytest.fail("locked twice")
        (at / "a.txt").touch()

    message = rf"{inner}: .*run is in use by another mbert; wait for it to end, or choose another -o\.$"
    with locked(run, resume=True):
        with pytest.raises(RunInUseError, match=message):
            folder(path).check()
        with pytest.raises(RunInUseError, match=message):
            folder(path).write(write)
        assert not path.exists()
    folder(path).check()
    folder(path).write(write)
    assert (path / "a.txt").exists()


def test_the_lock_file_of_another_program_is_not_touched(tmp_path):
    (tmp_path / ".lock").write_text("process 17")
    folder(tmp_path / "out").check()
    folder(tmp_path / "out").write(lambda at: (at / "a.txt").touch())
    assert (tmp_path / ".lock").read_text() == "process 17"


def test_a_folder_outside_runs_gets_no_lock_file(tmp_path):
    folder(tmp_path / "out").check()
    folder(tmp_path / "out").write(lambda at: (at / "a.txt").touch())
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.txt", "manifest.json", "out"]


@pytest.mark.parametrize("inside", ["run", "."])
def test_what_another_process_wrote_since_the_check_is_replaced_only_with_force(inside, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_recipe("a: 1\n")
    run.lock_file.touch()
    path = tmp_path / inside / "out"
    ours, theirs, forced = (folder(path, force).check() for force in (False, False, True))
    theirs.write(lambda at: (at / "theirs.txt").touch())
    with pytest.raises(UsageError, match=r"out: exists; replace it with --force, or choose another folder\."):
        ours.write(lambda at: (at / "ours.txt").touch())
    assert sorted(each.name for each in path.iterdir()) == ["manifest.json", "theirs.txt"]
    forced.write(lambda at: (at / "ours.txt").touch())
    assert sorted(each.name for each in path.iterdir()) == ["manifest.json", "ours.txt"]
    (path / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"out: contains files that mbert x did not write; choose another folder\."):
        forced.write(lambda at: (at / "ours.txt").touch())
    assert (path / "notes.txt").exists()
    assert sorted(each.name for each in path.parent.glob(".*mbert*")) == [], "nothing incomplete is left"


def test_files_that_appear_while_a_new_folder_is_written_are_kept(tmp_path):
    def write(at):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").touch()

    with pytest.raises(UsageError, match=r"out: contains files that mbert x did not write"):
        folder(tmp_path / "out").check().write(write)
    assert (tmp_path / "out" / "notes.txt").exists()
