import pytest
from records import record

from mbert_cli.errors import CheckpointError, DataError
from mbert_cli.storage.atomic import commit_folder
from mbert_cli.storage.commit_epoch import commit_epoch, commit_state
from mbert_cli.storage.run_folder import RunFolder


def write(text):
    return lambda folder: (folder / "a.txt").write_text(text)


def test_the_newest_undamaged_state_is_found_and_the_oldest_are_removed(tmp_path):
    run = RunFolder(tmp_path)
    for epoch, step in ((9_999, 0), (9_999, 90), (9_999, 110), (10_000, 0)):
        (run.states / ".epoch-9999-step-00000100.mbert-new").mkdir(parents=True)  # of a process that died
        commit_state(run, epoch, step, write(f"{epoch} {step}"), keep=2)
    assert sorted(each.name for each in run.states.iterdir()) == ["epoch-10000", "epoch-9999-step-00000110"]
    newest, problems = run.newest_state()
    assert (newest.name, problems) == ("epoch-10000", [])
    (run.states / "epoch-10000" / "a.txt").write_text("damaged")
    newest, problems = run.newest_state()
    assert newest.name == "epoch-9999-step-00000110"
    assert "epoch-10000" in problems[0]
    (newest / "a.txt").write_text("damaged")
    with pytest.raises(CheckpointError, match=r"(?s)epoch-10000.*step-00000110.*all states are damaged"):
        run.newest_state()


def test_clear_removes_the_run_and_no_other_file(tmp_path):
    run = RunFolder(tmp_path)
    commit_folder(run.model, write("x"))
    commit_folder(run.evaluation, write("x"))
    commit_folder(run.figures, write("x"))
    commit_epoch(run, record(1), write("x"), 2, None)
    run.write_recipe("a: 1\n")
    (tmp_path / "notes.txt").touch()
    run.clear()
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_an_invalid_line_of_metrics_is_reported_with_its_number(tmp_path):
    run = RunFolder(tmp_path)
    commit_epoch(run, record(1), write("x"), 2, None)
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 2')
    with pytest.raises(DataError, match=r"metrics.jsonl:2: is not JSON .*; remove the line"):
        run.read_metrics()
