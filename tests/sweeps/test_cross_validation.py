"""`mbert cv` on the tiny recipe: the folds train in this process."""

import csv
import json
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import tiny
from rich.console import Console
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error

from mbert_cli.cli import app
from mbert_cli.errors import MbertError, RunFailedError, UsageError
from mbert_cli.machine import child_process
from mbert_cli.training import saver

NO_LINES = str.maketrans(dict.fromkeys("│┃┏┓┗┛┡┩├┤└┘┬┴┼╇┳┻━─", " "))
SETTINGS = ("training.epochs=1", "training.state_every=1")


class Death(BaseException):
    """The process is killed."""


class Process(subprocess.Popen):
    """A training that runs in this process and has ended when it is returned."""

    started: list[list[str]] = []

    def __init__(self, words, threads, log):
        self.returncode = 0
        self.started.append(words)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            try:
                app(words, standalone_mode=False)
            except Death:
                self.returncode = -9

    def poll(self):
        return self.returncode

    wait = poll


def cv(*words, folds=3):
    """Run the command; return what it prints."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        app(["cv", "recipe.yaml", "-o", "out", "--folds", str(folds), *SETTINGS, *words], standalone_mode=False)
    return out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def project(tiny_checkpoint, tmp_path_factory):
    """A folder with the tiny recipe. In it, trainings run in this process."""
    folder = tmp_path_factory.mktemp("cv")
    tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny.write_files(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(child_process, "spawn", Process)
        patch.setattr("mbert_cli.machine.process_pool._POLL_EVERY", 0)
        patch.setattr("mbert_cli.storage.atomic._sync", lambda path: None)  # slow
        patch.setattr("mbert_cli.training.loop.draw_figures", lambda *_: None)
        yield folder


@pytest.fixture(scope="module")
def done(project):
    """The result of a cross-validation: two of its folds were killed, and continued."""
    calls = []

    def dying(*words):
        commit_state(*words)
        calls.append(words)
        if len(calls) in (2, 4):
            raise Death

    commit_state = saver.commit_state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saver, "commit_state", dying)
        with pytest.raises(RunFailedError):
            cv("--stratify")
        assert not list(Path("out").glob("*_predictions.tsv"))
        out, _ = cv("--stratify", "--json")
    assert ["--resume" in words for words in Process.started] == [False] * 3 + [True] * 2
    return json.loads(out)


def rows_of(task):
    with open(f"out/{task}_predictions.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize(("task", "count"), [("mood", 20), ("same", 30), ("near", 12)])
def test_each_training_row_is_predicted_once_in_the_order_of_the_file(done, project, task, count):
    rows = rows_of(task)
    with (project / f"{task}-train.tsv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [row["id"] for row in rows] == [row["id"] for row in table]
    assert [int(row["line"]) for row in rows] == list(range(2, count + 2))
    assert [float(row["label"]) if task == "near" else row["label"] for row in rows] == [
        float(row[task]) if task == "near" else row[task].removesuffix(".0") for row in table
    ]
    sizes = [sum(row["fold"] == number for row in rows) for number in "123"]
    assert sizes == done["tasks"][task]["rows"]
    assert max(sizes) - min(sizes) <= 1


def scores_of(task, rows):
    """Return the scores of scikit-learn and SciPy for some rows."""
    label, pred = ([row[name] for row in rows] for name in ("label", "pred"))
    if task == "near":
        label, pred = np.array(label, dtype=float), np.array(pred, dtype=float)
        return {"pearson": pearsonr(pred, label).statistic, "mse": mean_squared_error(label, pred)}
    average = {"average": "macro", "labels": ["low", "mid", "high"]} if task == "mood" else {"pos_label": "1"}
    return {"accuracy": accuracy_score(label, pred), "f1": f1_score(label, pred, zero_division=0, **average)}


@pytest.mark.parametrize("task", ["mood", "same", "near"])
def test_scores_are_those_of_scikit_learn_on_the_written_file(done, task):
    rows = rows_of(task)
    own = done["tasks"][task]["scores"]
    pooled = scores_of(task, rows)
    folds = [scores_of(task, [row for row in rows if row["fold"] == number]) for number in "123"]
    for name, value in pooled.items():
        assert own[name]["pooled"] == pytest.approx(value, abs=1e-12)
        values = [scores[name] for scores in folds]
        # The scores of a fold are computed before predictions are rounded to six digits.
        assert own[name]["folds"] == pytest.approx(values, abs=1e-12 if task != "near" else 1e-4)
        assert own[name]["mean"] == pytest.approx(fmean(own[name]["folds"]), abs=1e-12)
        assert own[name]["deviation"] == pytest.approx(stdev(own[name]["folds"]), abs=1e-12)


def test_the_overall_score_is_that_of_the_main_metrics(done):
    for key in ("pooled", "mean"):
        mood, same = (done["tasks"][task]["scores"]["accuracy"][key] for task in ("mood", "same"))
        near = done["tasks"]["near"]["scores"]["pearson"][key]
        assert done["overall"][key] == pytest.approx((mood + same + (near + 1) / 2) / 3, abs=1e-12)


def test_a_finished_cross_validation_trains_nothing_and_prints_the_same(done):
    before = len(Process.started)
    out, err = cv("--stratify", "--json")
    assert json.loads(out) == done
    assert "3 of 3 runs are done already" in err
    assert len(Process.started) == before


def test_killed_folds_give_the_same_bytes_as_others_and_as_two_folds_at_a_time(done, project, monkeypatch):
    names = [f"{task}_predictions.tsv" for task in ("mood", "same", "near")] + ["folds.json"]
    before = {name: Path("out", name).read_bytes() for name in names}
    monkeypatch.setattr("mbert_cli.training.loop.draw_figures", lambda *_: None)
    app(
        ["cv", "recipe.yaml", "-o", "whole", "--folds", "3", *SETTINGS, "--stratify", "-j", "2", "-q", "--json"],
        standalone_mode=False,
    )
    assert {name: Path("whole", name).read_bytes() for name in names} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stratify", "training.learning_rate=1e-4"], "training.learning_rate was 0.001 and is now 0.0001"),
        (["--stratify", "--group", "text"], "tasks.mood.fold.group was None and is now 'text'"),
        (["--stratify", "--limit", "10"], "tasks.mood.fold.limit was None and is now 10"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(done, words, message):
    before = Path("out/mood_predictions.tsv").read_bytes()
    with pytest.raises(UsageError, match=message):
        cv(*words)
    assert Path("out/mood_predictions.tsv").read_bytes() == before


def test_another_number_of_folds_in_the_same_folder_is_refused(done):
    with pytest.raises(UsageError, match="fold.of was 3 and is now 4"):
        cv("--stratify", folds=4)


def test_a_sweep_in_the_folder_is_refused(done, project):
    (project / "plan.yaml").write_text("rows: [{name: a, recipe: recipe.yaml}]")
    with pytest.raises(UsageError, match="out is not empty and contains no sweep"):
        app(["sweep", "plan.yaml", "-o", "out"], standalone_mode=False)


def test_evaluating_a_fold_scores_its_rows(done, capsys):
    app(["evaluate", "out/runs/fold-2", "--json"], standalone_mode=False)
    metrics = json.loads(capsys.readouterr().out)
    for task, own in done["tasks"].items():
        assert metrics["tasks"][task]["examples"] == own["rows"][1]
        name = own["main_metric"]
        assert metrics["tasks"][task][name] == pytest.approx(own["scores"][name]["folds"][1], abs=1e-6)
    app(["evaluate", "out/runs/fold-2", "--split", "train", "--json"], standalone_mode=False)
    train = json.loads(capsys.readouterr().out)["tasks"]["mood"]["examples"]
    assert train == 20 - done["tasks"]["mood"]["rows"][1]


def test_the_page_shows_scores_and_folds(done):
    for name in ("table.html", "table.md"):
        text = Path("out", name).read_text(encoding="utf-8")
        assert "3 of 3 runs are done." in text
        assert f"{done['tasks']['mood']['scores']['accuracy']['mean']:.3f}" in text
    assert len(Path("out/table.tsv").read_text().splitlines()) == 1 + 1 + sum(
        len(own["scores"]) for own in done["tasks"].values()
    )


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_word_of_the_tables_is_cut_on_a_narrow_terminal(done, width, monkeypatch):
    def words(width):
        console = Console(width=width, file=StringIO(), color_system=None)
        monkeypatch.setattr("mbert_cli.commands.cv.print_tables", lambda tables: console.print(*tables))
        cv("--stratify")
        return {word.strip(",.:;") for word in console.file.getvalue().translate(NO_LINES).split()}

    wide, narrow = words(400), words(width)
    assert len(wide) > 60
    assert narrow - wide <= {"not", "shown", "in", str(width), "columns"}
    assert {word for word in wide if not word[-1].isdigit()} - narrow <= {"lowest", "highest"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--group", "user"],
            "--group user: no training file has a column 'user'. Known: id, mood, near, one, same, text, two",
        ),
        (["--group", "moo=id"], "--group moo=id: the recipe has no task 'moo'; did you mean 'mood'"),
        (
            ["--group", "mood=one"],
            "--group mood=one: the training file of task mood has no column 'one'. Known: id, mood",
        ),
        (["--group", "one", "--group", "two"], "--group two: task same has the group one already; name one"),
        (["--folds", "40"], "of 40 of task mood has no rows; the file has 20 distinct rows; choose fewer --folds"),
        (["--address", "auto"], "--address needs --engine ray"),
        (
            ["tasks.mood.fold.number=1"],
            r"^'tasks.mood.fold.number=1': mbert cv sets the fold of each run; divide the rows with --folds, --group, ",
        ),
    ],
)
def test_mistakes_are_reported_before_training(project, words, message):
    with pytest.raises(MbertError, match=message):
        app(["cv", "recipe.yaml", "-o", "new", *words], standalone_mode=False)
    assert not Path("new").exists()


def test_a_dry_run_lists_the_rows_and_writes_nothing(project):
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        app(["cv", "recipe.yaml", "-o", "new", "--folds", "2", "--group", "same=one", "--dry-run", "--json"],
            standalone_mode=False)  # fmt: skip
    assert err.getvalue().count("each fold keeps the epoch with the best score") == 1
    facts = json.loads(out.getvalue())
    assert {name: sum(own["rows"]) for name, own in facts.items()} == {"mood": 20, "same": 30, "near": 12}
    assert not Path("new").exists()
