from records import record

from mbert_cli.storage.atomic import committed
from mbert_cli.storage.commit_epoch import commit_epoch
from mbert_cli.storage.run_folder import RunFolder


def write(text):
    return lambda folder: (folder / "a.txt").write_text(text)


def test_the_state_is_written_last(tmp_path):
    run, written = RunFolder(tmp_path), []

    def noting(name):
        def write(folder):
            written.append((name, committed(run.model) is not None, len(run.read_metrics())))
            (folder / "a.txt").write_text(name)

        return write

    commit_epoch(run, record(1), noting("state"), 2, (noting("model"), noting("evaluation")))
    commit_epoch(run, record(2), noting("state"), 2, None)
    assert written == [("model", False, 0), ("evaluation", True, 0), ("state", True, 1), ("state", True, 2)]


def test_metrics_of_repeated_epochs_are_replaced(tmp_path):
    run = RunFolder(tmp_path)
    for epoch, turn in ((1, 0.1), (2, 0.1), (3, 0.1), (2, 0.2)):
        commit_epoch(run, record(epoch, overall=turn), write("x"), 2, None)
    assert run.read_metrics() == [record(1, overall=0.1), record(2, overall=0.2)]
