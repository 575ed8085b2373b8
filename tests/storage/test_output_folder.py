import pytest

from mbert_cli.errors import RunInUseError
from mbert_cli.storage.output_folder import check_output_folder, write_output_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked


def check(path):
    check_output_folder(path, force=True, command="mbert x", is_ours=lambda _: True)


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
            check(path)
        with pytest.raises(RunInUseError, match=message):
            write_output_folder(path, write)
        assert not path.exists()
    check(path)
    write_output_folder(path, write)
    assert (path / "a.txt").exists()


def test_the_lock_file_of_another_program_is_not_touched(tmp_path):
    (tmp_path / ".lock").write_text("process 17")
    check(tmp_path / "out")
    write_output_folder(tmp_path / "out", lambda at: (at / "a.txt").touch())
    assert (tmp_path / ".lock").read_text() == "process 17"


def test_a_folder_outside_runs_gets_no_lock_file(tmp_path):
    check(tmp_path / "out")
    write_output_folder(tmp_path / "out", lambda at: (at / "a.txt").touch())
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.txt", "manifest.json", "out"]
