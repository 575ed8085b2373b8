"""Sweeps: with a stand-in for the training, but where a real one is what matters."""

import base64
import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
import stand_in
import tiny
from rich.console import Console

from mbert_cli.cli import app
from mbert_cli.errors import RunFailedError, RunInUseError, UsageError
from mbert_cli.machine import child_process as child_training
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import in_use
from mbert_cli.sweeps import run_plan as procedure
from mbert_cli.sweeps.folder import SweepFolder
from mbert_cli.sweeps.formats import as_html, as_markdown, as_tsv
from mbert_cli.sweeps.plan import read_plan
from mbert_cli.sweeps.results import read_results
from mbert_cli.sweeps.terminal_table import sweep_table

PLAN = """\
title: Two methods
seeds: [1, 2]
settings: [training.epochs=2]
keep: metrics
rows:
  - {group: G, name: both, recipe: recipe.yaml}
  - {group: G, name: none, recipe: recipe.yaml, settings: ["adapters=[]"]}
  - {group: H, name: both again, recipe: recipe.yaml, settings: ['reference={source: a paper, scores: {mood: .6}}']}
"""
SLOW, NOT_FINITE, KILLED = (
    f"training.learning_rate={rate}" for rate in (stand_in.SLOW, stand_in.NOT_FINITE, stand_in.KILLED)
)
START = child_training.spawn
# The command line, its trainings replaced.
DRIVER = (
    "import sys; from mbert_cli import cli; from mbert_cli.machine import child_process; import stand_in\n"
    "child_process.MBERT = stand_in.COMMAND; cli.main()"
)  # fmt: skip


@pytest.fixture
def here(tiny_recipe, tmp_path, monkeypatch):
    """The working folder, with the tiny recipe and a plan in it; trainings are stand-ins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(child_training, "spawn", stand_in.Process)
    monkeypatch.setattr("mbert_cli.machine.process_pool._POLL_EVERY", 0)
    monkeypatch.setattr("mbert_cli.storage.atomic._sync", lambda path: None)  # as slow as all else
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    return tmp_path


def mbert_sweep(*words):
    """Run the command in this process."""
    app(["sweep", "plan.yaml", "-o", "out", *words], standalone_mode=False)


def start_sweep(here, *words, command=("-c", DRIVER)):
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *command, "sweep", "plan.yaml", "-o", "out", *words],
        cwd=here,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(holds, what):
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError(f"a minute has passed, and still not: {what}")


def logs(here):
    return {path.stem: path.read_text() for path in sorted((here / "out" / "logs").glob("*.log"))}


def starts(here):
    """Return how often each run's training was begun or gone on with."""
    return {name: text.count("$ mbert train") for name, text in logs(here).items()}


def rows_of(text):
    return {(row["group"], row["row"]): row for row in csv.DictReader(io.StringIO(text), delimiter="\t")}


def table(here):
    return rows_of((here / "out" / "table.tsv").read_text())


def without_times(text):
    rows = rows_of(text)
    assert all(float(row.pop("train_seconds")) > 0 for row in rows.values())
    return rows


def result_of(here):
    plan = read_plan(here / "plan.yaml", lambda *_: [])
    return read_results(plan, SweepFolder(here / "out").runs_of(plan))


def test_rows_of_the_same_recipe_share_a_run(here):
    mbert_sweep()
    assert starts(here) == {f"g-{name}-seed-{seed}": 1 for name in ("both", "none") for seed in (1, 2)}
    rows = table(here)
    shared = rows["G", "both"]["runs"]
    assert shared == rows["H", "both again"]["runs"] == "g-both-seed-1 g-both-seed-2"
    # The scores that a row is compared with are its own.
    assert (rows["G", "both"]["mood_accuracy_published"], rows["H", "both again"]["mood_accuracy_published"]) == (
        "",
        "0.6",
    )


def test_mean_and_range_are_those_of_the_seeds(here):
    mbert_sweep()
    row = table(here)["G", "none"]
    # .5 + .02 (two epochs) + .002 and .004 (seeds), by hand.
    found = [float(row[f"mood_accuracy_{part}"]) for part in ("mean", "min", "max")]
    assert found == pytest.approx([0.523, 0.522, 0.524])
    assert float(row["overall_mean"]) == pytest.approx(0.523)
    assert (row["done"], row["kept_epochs"], row["times_encoder"], row["train_seconds"]) == ("2", "2 2", "1.0", "60.0")
    # Two adapters of 10 parameters, as the stand-in has it, on an encoder of 1000.
    assert table(here)["G", "both"]["times_encoder"] == "1.02"


def test_what_is_done_is_skipped_without_loading_torch(here, capsys):
    mbert_sweep()
    before = capsys.readouterr().out
    code = (
        "import sys; sys.argv = ['mbert', 'sweep', 'plan.yaml', '-o', 'out']\n"
        "from mbert_cli.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, before)
    assert done.stderr == "4 of 4 runs are done already\n"
    assert set(starts(here).values()) == {1}


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("metrics", {"recipe.yaml", "metrics.jsonl"}),
        ("model", {"recipe.yaml", "metrics.jsonl", "model", "evaluation"}),
        ("all", {"recipe.yaml", "metrics.jsonl", "model", "evaluation", "state"}),
    ],
)
def test_of_a_run_that_is_done_what_the_plan_keeps_stays(here, keep, left):
    (here / "plan.yaml").write_text(PLAN.replace("keep: metrics", f"keep: {keep}"))
    mbert_sweep("-q")
    run = here / "out" / "runs" / "g-none-seed-1"
    assert {each.name for each in run.iterdir()} - {".lock"} == left
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}


class Death(BaseException):
    pass


@pytest.mark.parametrize("done", range(4))
def test_a_death_while_what_is_not_kept_is_removed_leaves_a_run_that_is_done(here, monkeypatch, done):
    """Of the four parts, `done` were removed; one was removed by half."""
    removed = []

    def dying(folder):
        if len(removed) == done:
            (folder / "a.txt").unlink(missing_ok=True)
            raise Death
        removed.append(folder)
        shutil.rmtree(folder, ignore_errors=True)

    with monkeypatch.context() as patch:
        patch.setattr("mbert_cli.sweeps.run.remove_folder", dying)
        with pytest.raises(Death):
            mbert_sweep("-q")
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}
    for run in (here / "out" / "runs").iterdir():
        assert {each.name for each in run.iterdir()} - {".lock"} == {"recipe.yaml", "metrics.jsonl"}


def test_of_runs_that_are_done_their_metrics_suffice_and_belong_to_their_recipes(here):
    mbert_sweep("-q")
    for run in (here / "out" / "runs").iterdir():
        for each in run.iterdir():
            if each.name != "metrics.jsonl":
                each.unlink()
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}
    metrics = here / "out" / "runs" / "g-none-seed-2" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines(keepends=True)[0])
    mbert_sweep("-q")
    assert {name for name, times in starts(here).items() if times == 2} == {"g-none-seed-2"}
    (here / "plan.yaml").write_text(PLAN.replace('"adapters=[]"', '"adapters=[]", training.batch_size=9'))
    with pytest.raises(UsageError, match="out/runs/g-none-seed-1: training.batch_size was 8 and is now 9"):
        mbert_sweep("-q")


def test_a_row_that_is_added_is_run_and_nothing_else(here):
    mbert_sweep("-q")
    text = PLAN + '  - {group: H, name: mean, recipe: recipe.yaml, settings: ["adapters=[top]"], seeds: [3]}\n'
    (here / "plan.yaml").write_text(text)
    mbert_sweep("-q")
    assert starts(here).pop("h-mean-seed-3") == 1
    assert set(starts(here).values()) == {1}
    assert (here / "out" / "plan.yaml").read_text() == text


def test_rows_may_be_renamed_and_moved(here):
    mbert_sweep("-q")
    head, both, none, again = PLAN.partition("rows:\n")[0], *PLAN.splitlines(keepends=True)[-3:]
    renamed = none.replace("name: none", "name: both").replace("group: G", "group: Z")
    (here / "plan.yaml").write_text(f"{head}rows:\n{again}{renamed}{both}")
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}
    assert table(here)["Z", "both"]["runs"] == "g-none-seed-1 g-none-seed-2"


def test_a_run_that_was_begun_with_another_recipe_is_refused_and_replaced_with_force(here):
    mbert_sweep("-q")
    before = (here / "out" / "table.tsv").read_bytes()
    (here / "plan.yaml").write_text(PLAN.replace('"adapters=[]"', '"adapters=[]", training.batch_size=9'))
    with pytest.raises(UsageError) as caught:
        mbert_sweep()
    first, second, remedy = caught.value.problems
    assert first == "out/runs/g-none-seed-1: training.batch_size was 8 and is now 9."
    assert second.startswith("out/runs/g-none-seed-2: ")
    assert "--force" in remedy
    assert (here / "out" / "table.tsv").read_bytes() == before
    mbert_sweep("-q", "--force")
    assert starts(here) == {"g-both-seed-1": 1, "g-both-seed-2": 1, "g-none-seed-1": 2, "g-none-seed-2": 2}
    assert "batch_size: 9" in (here / "out" / "runs" / "g-none-seed-1" / "recipe.yaml").read_text()


def test_runs_of_other_options_are_refused(here):
    mbert_sweep("-q", "--limit", "5")
    with pytest.raises(UsageError, match="out/runs/g-both-seed-1: limit was 5 and is now None."):
        mbert_sweep("-q")
    fail(here, KILLED)
    with pytest.raises(RunFailedError):
        mbert_sweep("-q", "--force")
    with pytest.raises(UsageError) as caught:
        mbert_sweep("-q", "--precision", "fp32")
    *problems, _ = caught.value.problems
    for seed, problem in zip((1, 2), problems, strict=True):
        assert problem == f"out/runs/g-none-seed-{seed}: precision was 'auto' and is now 'fp32'."


def test_runs_that_are_done_stay_where_others_are_trained_on_another_device(here):
    part, whole = PLAN.replace("seeds: [1, 2]", "seeds: [1]"), here / "plan.yaml"
    whole.write_text(part)
    mbert_sweep("-q", "--device", "cpu", "--precision", "fp32")
    assert "trained on" not in printed(here, 200)
    assert table(here)["G", "both"]["trained_on"] == "cpu, fp32"
    whole.write_text(PLAN)
    mbert_sweep("-q", "--device", "cpu", "--precision", "bf16")
    assert set(starts(here).values()) == {1}
    assert table(here)["G", "both"]["trained_on"] == "cpu, fp32; cpu, bf16"
    assert printed(here, 220).count("cpu, fp32; cpu, bf16") == 3
    assert "| trained on |" in as_markdown(result_of(here))


def test_what_changes_no_result_may_change(here):
    mbert_sweep("-q")
    text = PLAN.replace("epochs=2]", "epochs=2, training.state_every=3, training.keep=1]")
    (here / "plan.yaml").write_text(text)
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}


@pytest.fixture
def project(here, tiny_checkpoint, tiny_files, monkeypatch):
    """A folder with a finished sweep, its plan, and all files that it reads."""
    folder = here / "project"
    shutil.copytree(tiny_files, folder / "data")
    shutil.copytree(tiny_checkpoint, folder / "encoder")
    tiny.write_recipe(folder / "recipe.yaml", Path("./encoder"), Path("data"))
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    monkeypatch.chdir(folder)
    mbert_sweep("-q")
    return folder


def move(project, monkeypatch):
    """Rename a project's folder and enter it."""
    monkeypatch.chdir(project.parent)
    project.rename(project.with_name("moved"))
    monkeypatch.chdir("moved")
    return project.with_name("moved")


def test_a_sweep_that_was_moved_with_its_files_trains_only_what_is_left(project, monkeypatch):
    moved = move(project, monkeypatch)
    metrics = moved / "out" / "runs" / "g-none-seed-2" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines(keepends=True)[0])
    for name in ("again", "once more"):
        mbert_sweep("-q")
        assert {name for name, times in starts(moved).items() if times > 1} == {"g-none-seed-2"}, name
        assert starts(moved)["g-none-seed-2"] == 2
    assert {row["done"] for row in table(moved).values()} == {"2"}


def test_a_sweep_that_was_moved_recognises_its_runs_in_the_table(project, monkeypatch):
    before = (project / "out" / "table.tsv").read_bytes()
    plan = PLAN.replace("name: both,", "name: renamed,")
    (project / "plan.yaml").write_text(plan, encoding="utf-8")
    moved = move(project, monkeypatch)
    mbert_sweep("--table")
    assert (moved / "out" / "table.tsv").read_bytes().replace(b"renamed", b"both") == before


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_file_with_other_contents_is_noticed_if_the_sweep_was_moved_or_not(project, monkeypatch, is_moved):
    folder = move(project, monkeypatch) if is_moved else project
    file = folder / "data" / "mood-train.tsv"
    file.write_text(file.read_text().replace("low", "high", 1))
    with pytest.raises(UsageError) as caught:
        mbert_sweep("-q")
    *problems, remedy = caught.value.problems
    assert len(problems) == 4
    changed = "tasks.mood.train was '" if is_moved else f"the contents of tasks.mood.train ({file}) have changed"
    assert problems[0].startswith(f"out/runs/g-both-seed-1: {changed}")
    assert problems[0].count("tasks.") == 1
    assert "--force" in remedy
    assert set(starts(folder).values()) == {1}


def test_a_sweep_of_an_earlier_version_has_no_hashes_and_compares_paths(project, monkeypatch):
    for file in (project / "out" / "recipes").glob("*.json"):
        record = json.loads(file.read_text())
        del record["files"]
        file.write_text(json.dumps(record))
    (project / "data" / "mood-train.tsv").write_bytes((project / "data" / "mood-dev.tsv").read_bytes())
    mbert_sweep("-q")
    move(project, monkeypatch)
    with pytest.raises(UsageError, match="out/runs/g-both-seed-1: encoder.checkpoint was '"):
        mbert_sweep("-q")


def test_the_test_file_of_a_task_belongs_to_no_run(here):
    mbert_sweep("-q")
    (here / "plan.yaml").write_text(PLAN.replace("epochs=2]", "epochs=2, tasks.mood.test=later.tsv]"))
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}


def fail(here, setting):
    (here / "plan.yaml").write_text(PLAN.replace('"adapters=[]"', f'"adapters=[]", {setting}'))


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [(NOT_FINITE, 5, "the loss is nan"), (KILLED, 137, "threads free")],
)
def test_a_run_that_fails_is_told_and_the_others_go_on(here, capsys, setting, code, said):
    fail(here, setting)
    with pytest.raises(RunFailedError) as caught:
        mbert_sweep()
    assert caught.value.exit_code == code
    told = f"failed with exit code {code}: {said}"
    note = f"none, seed 1: {told} (out/logs/g-none-seed-1.log)"
    assert str(caught.value) == f"out: not all runs are done: {note}; and 1 more. The same command tries again."
    shown = capsys.readouterr()
    assert f"[2/4] {note}" in shown.err
    assert "2 of 4 runs are done." in shown.out
    assert told in shown.out
    rows = table(here)
    assert [rows["G", name]["done"] for name in ("both", "none")] == ["2", "0"]
    for name in ("table.md", "table.html"):
        assert told in (here / "out" / name).read_text()


def test_the_next_sweep_tries_again_what_failed(here):
    fail(here, NOT_FINITE)
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    assert starts(here) == {"g-both-seed-1": 1, "g-both-seed-2": 1, "g-none-seed-1": 2, "g-none-seed-2": 2}
    assert "--resume" in logs(here)["g-none-seed-1"].splitlines()[-4]


def test_the_command_ends_with_the_exit_code_of_the_first_run_that_failed(here):
    fail(here, KILLED)
    broken = f"name: both, settings: [{NOT_FINITE}],"
    (here / "plan.yaml").write_text((here / "plan.yaml").read_text().replace("name: both,", broken))
    done = start_sweep(here, "-q")
    _, err = done.communicate(timeout=60)
    assert done.returncode == 5
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_bad_plans_end_with_2_and_leave_nothing(here):
    (here / "plan.yaml").write_text("rows:\n  - {name: a, recipe: nowhere}\n")
    done = start_sweep(here)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 2
    assert err.startswith("plan.yaml:2: rows[0].recipe is 'nowhere'")
    assert len(err.splitlines()) == 1
    assert not (here / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(here):
    (here / "out").mkdir()
    (here / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="out is not empty and holds no sweep; choose another -o."):
        mbert_sweep()
    assert [each.name for each in (here / "out").iterdir()] == ["thesis.txt"]
    (here / "file").write_text("mine")
    with pytest.raises(UsageError, match="file is a file"):
        mbert_sweep("-o", "file")


def test_a_second_sweep_ends_with_3_and_changes_nothing(here):
    mbert_sweep("-q")
    (here / "plan.yaml").write_text(PLAN + "  - {name: new, recipe: recipe.yaml, seeds: [9]}\n")
    with SweepFolder(here / "out").locked():
        with pytest.raises(RunInUseError, match="out is in use by another mbert sweep"):
            mbert_sweep()
        second = start_sweep(here)
        _, err = second.communicate(timeout=60)
        assert second.returncode == 3
        assert len(err.splitlines()) == 1
        # What is there may be looked at.
        mbert_sweep("--table")
    assert (here / "out" / "plan.yaml").read_text() == PLAN
    assert len(starts(here)) == 4


def test_jobs_go_on_at_once_and_share_the_cores(here, monkeypatch):
    monkeypatch.setattr(child_training, "cores", lambda: 6)
    running, most = set(), []

    class Running(stand_in.Process):
        """Ends at the second poll."""

        def __init__(self, *words):
            super().__init__(*words)
            running.add(self)
            most.append(len(running))

        def poll(self):
            if self in running:
                running.remove(self)
                return None
            return self.returncode

    monkeypatch.setattr(child_training, "spawn", Running)
    mbert_sweep("-q", "--jobs", "3")
    assert max(most) == 3
    assert all("threads 2\n" in text for text in logs(here).values())
    assert set(starts(here).values()) == {1}
    at_once = without_times((here / "out" / "table.tsv").read_text())
    shutil.rmtree(here / "out")
    mbert_sweep("-q")
    assert max(most[4:]) == 1
    assert all("threads free\n" in text for text in logs(here).values())
    assert without_times((here / "out" / "table.tsv").read_text()) == at_once


def test_a_run_keeps_the_number_of_threads_that_it_was_begun_with(here, monkeypatch):
    monkeypatch.setattr(child_training, "cores", lambda: 6)
    fail(here, NOT_FINITE)
    with pytest.raises(RunFailedError):
        mbert_sweep("-q", "-j", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    lines = logs(here)["g-none-seed-1"].splitlines()
    assert [line for line in lines if line.startswith("threads")] == ["threads 2", "threads 2"]


def test_threads_that_the_user_chose_are_shared(here, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    mbert_sweep("-q", "-j", "2")
    assert all("threads 2\n" in text for text in logs(here).values())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on_and_the_same_command_goes_on(here, number, code):
    fail(here, SLOW)
    first = start_sweep(here, "--jobs", "2")
    wait_until(lambda: "waiting" in logs(here).get("g-none-seed-1", ""), "the slow training waits")
    first.send_signal(number)
    _, err = first.communicate(timeout=30)
    assert first.returncode == code
    last = err.splitlines()[-1]
    assert last.startswith("out: stopped; ")
    assert last.endswith("The same command goes on.")
    assert logs(here)["g-none-seed-1"].splitlines()[-2:] == [
        "out/runs/g-none-seed-1: stopped, saved.",
        f"mbert sweep: the training ended with exit code {code}",
    ]
    assert "none, seed 1: was stopped; 0 of 2 epochs have ended" in (here / "out" / "table.md").read_text()
    # Gone on with, the first epoch is quick: it was saved.
    text = (here / "plan.yaml").read_text().replace("training.epochs=2", "training.epochs=1")
    assert text != (here / "plan.yaml").read_text()
    assert RunFolder(here / "out" / "runs" / "g-none-seed-1").newest_state()[0].name == "epoch-0000-step-00000001"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere trainings outlive the sweep, and the next one waits")
def test_a_sweep_that_is_killed_takes_its_trainings_along(here):
    fail(here, SLOW)
    first = start_sweep(here)
    wait_until(lambda: "waiting" in logs(here).get("g-none-seed-1", ""), "the slow training waits")
    first.kill()
    first.communicate(timeout=30)
    run = RunFolder(here / "out" / "runs" / "g-none-seed-1")
    wait_until(lambda: not in_use(run), "the training has ended")
    assert run.newest_state()[0].name == "epoch-0000-step-00000001"


def test_a_training_that_goes_on_elsewhere_is_waited_for(here, capsys):
    mbert_sweep("-q")
    run = RunFolder(here / "out" / "runs" / "g-none-seed-2")
    lines = run.metrics_file.read_text()
    run.metrics_file.write_text(lines.splitlines(keepends=True)[0])
    # It ends its last epoch while the sweep waits.
    code = (
        "import sys, time; from pathlib import Path; from mbert_cli.storage.run_folder import RunFolder\n"
        "from mbert_cli.storage.run_lock import locked\n"
        "run = RunFolder(Path(sys.argv[1]))\n"
        "with locked(run, resume=True):\n"
        "    print('held', flush=True); sys.stdin.readline(); run.metrics_file.write_text(sys.argv[2])"
    )
    words = [sys.executable, "-c", code, str(run.path), lines]
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    mbert_sweep("--table")
    assert "none, seed 2: is being trained; 1 of 2 epochs have ended" in capsys.readouterr().out
    sweep = start_sweep(here)
    assert sweep.stderr.readline() == "3 of 4 runs are done already\n"
    waiting = f"none, seed 2: another process is training {Path('out/runs/g-none-seed-2')}; waiting for its end\n"
    assert sweep.stderr.readline() == waiting
    other.communicate("\n", timeout=30)
    shown, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 0
    assert "4 of 4 runs are done." in shown
    assert set(starts(here).values()) == {1}


def test_dry_run_lists_the_runs_and_writes_nothing(here, capsys):
    mbert_sweep("--dry-run")
    shown = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "seed" in line]
    assert lines == [
        ["g-both-seed-1", "both, both again", "waiting", "0/2"],
        ["g-none-seed-1", "none", "waiting", "0/2"],
        ["g-both-seed-2", "both, both again", "waiting", "0/2"],
        ["g-none-seed-2", "none", "waiting", "0/2"],
    ]
    assert not (here / "out").exists()
    mbert_sweep("--table")
    assert "0 of 4 runs are done." in capsys.readouterr().out
    assert not (here / "out").exists()
    mbert_sweep("-q")
    capsys.readouterr()
    mbert_sweep("--dry-run", "--limit", "3")
    assert capsys.readouterr().out.count("changed: see --force") == 4


def test_the_table_is_written_again_from_the_runs_alone(here):
    mbert_sweep("-q")
    before = {path.name: path.read_bytes() for path in (here / "out").glob("table.*")}
    assert set(before) == {"table.tsv", "table.md", "table.html"}
    for name in before:
        (here / "out" / name).unlink()
    shutil.rmtree(here / "out" / "logs")
    mbert_sweep("--table")
    assert {path.name: path.read_bytes() for path in (here / "out").glob("table.*")} == before


def test_a_sweep_that_cannot_be_written_to_can_be_looked_at(here, capsys, monkeypatch):
    mbert_sweep("-q")
    capsys.readouterr()

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    mbert_sweep("--table")
    shown = capsys.readouterr()
    assert "4 of 4 runs are done." in shown.out
    assert shown.err == "out: cannot be written (Permission denied); choose another path.\n"
    (here / "out" / "runs" / "g-none-seed-1" / "metrics.jsonl").unlink()
    mbert_sweep("--table")
    assert "none, seed 1: was stopped; 0 of 2 epochs have ended" in capsys.readouterr().out
    with pytest.raises(UsageError, match="out: cannot be written"):
        mbert_sweep()


def test_options_that_no_run_can_have_are_refused_before_any_begins(here):
    with pytest.raises(UsageError, match="--precision is 'fp12'"):
        mbert_sweep("--precision", "fp12")
    with pytest.raises(UsageError, match="--table and --dry-run exclude each other"):
        mbert_sweep("--table", "--dry-run")
    assert not (here / "out").exists()


def test_a_run_that_somebody_takes_first_is_waited_for(here, monkeypatch):
    refused = []

    def start(words, threads, log):
        process = stand_in.Process(words, threads, log)
        if not refused:
            refused.append(words[3])
            shutil.rmtree(words[3])
            process.returncode = 3
        return process

    monkeypatch.setattr(child_training, "spawn", start)
    mbert_sweep("-q")
    assert refused == ["out/runs/g-both-seed-1"]
    assert starts(here) == {"g-both-seed-1": 2, "g-both-seed-2": 1, "g-none-seed-1": 1, "g-none-seed-2": 1}


def test_json_holds_the_table(here, capsys):
    mbert_sweep("-q", "--json")
    found = json.loads(capsys.readouterr().out)
    both, none, again = found["rows"]
    assert found["title"] == "Two methods"
    assert none["tasks"]["near"]["metric"] == "pearson"
    assert none["overall"]["values"] == pytest.approx([0.522, 0.524])
    assert [run["status"] for run in both["runs"]] == ["done", "done"]
    assert again["published"]["source"] == "a paper"


def printed(here, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(sweep_table(result_of(here)))
    return console.file.getvalue()


def test_the_best_mean_of_a_group_is_marked(here):
    mbert_sweep("-q")
    lines = {line.split("│")[1].strip(): line for line in printed(here, 200).splitlines() if line.count("│") > 3}
    # .5 + .02 + mean(.002, .004), and .1 more for two adapters.
    assert f"0.623* (0.622{DASH}0.624)" in lines["both"]
    assert "*" not in lines["none"]
    assert "*" not in lines["both again"]
    assert f"**0.623** (0.622{DASH}0.624)" in as_markdown(result_of(here))
    assert as_html(result_of(here)).count('class="best"') == 4  # three tasks and overall


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_is_whole_at_every_width(here, width):
    mbert_sweep("-q")
    text = printed(here, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.replace("│", " ").split())
    for said in (
        "Two methods",
        "both again",
        "mood accuracy",
        "near pearson",
        f"(0.622{DASH}0.624)",
        "1.020x",
        "2/2",
        "60 s",
    ):
        assert said in words, (said, text)
    assert "0.600" in words
    assert "a paper" in words


DASH = "\N{EN DASH}"
HOSTILE = "<script>alert(1)</script>|*_`[x](javascript:y)\"'&\\"


class Nodes(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


def test_html_and_markdown_escape_hostile_names(here):
    plan = {
        "title": f"title {HOSTILE}",
        "rows": [
            {
                "group": f"group {HOSTILE}",
                "name": f"name {HOSTILE}\n\x1b[31m",
                "recipe": "recipe.yaml",
                "settings": [f"reference={json.dumps({'source': f'source {HOSTILE}', 'scores': {'mood': 0.5}})}"],
            },
            {"name": f"failing {HOSTILE}", "recipe": "recipe.yaml", "settings": [NOT_FINITE]},
        ],
    }
    (here / "plan.yaml").write_text(json.dumps(plan))  # JSON is YAML
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    nodes = Nodes((here / "out" / "table.html").read_text())
    assert not {"script", "a", "img", "link"} & set(nodes.tags)
    assert not [name for name in nodes.attributes if name.startswith("on") or name in ("src", "href")]
    for word in ("title", "group", "name", "source", "failing"):
        assert f"{word} {HOSTILE}" in nodes.text
    text = (here / "out" / "table.md").read_text()
    assert "<script" not in text
    assert "[x](" not in text.replace("\\[x\\](", "")
    cells = [line for line in text.splitlines() if line.startswith("| name")]
    assert len(cells) == 1
    assert cells[0].replace("\\|", "").count("|") == 10
    assert "\x1b" not in text + nodes.text + as_tsv(result_of(here)) + printed(here, 200)


def test_the_page_loads_nothing_and_has_a_dark_side(here):
    mbert_sweep("-q")
    text = (here / "out" / "table.html").read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert Nodes(text).tags.count("tr") == 1 + 2 + 3  # headings, two groups, three rows


def test_scores_are_drawn_against_sizes_where_these_differ(here):
    mbert_sweep("-q")
    assert not (here / "out" / "scores.png").exists()  # the stand-in's models are all of one size
    frozen = PLAN + "  - {group: H, name: frozen, recipe: recipe.yaml, settings: [training.freeze_encoder=true]}\n"
    (here / "plan.yaml").write_text(frozen, encoding="utf-8")
    mbert_sweep("-q")
    drawn = (here / "out" / "scores.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert base64.b64encode(drawn).decode() in (here / "out" / "table.html").read_text()
    sizes = {(row.row.group, row.row.name): row.trained_parameters for row in result_of(here).rows}
    assert sizes == {("G", "both"): 1100, ("G", "none"): 1100, ("H", "both again"): 1100, ("H", "frozen"): 100}


def test_a_figure_that_cannot_be_drawn_costs_no_table(here, capsys, monkeypatch):
    monkeypatch.setattr("mbert_cli.sweeps.figure.draw_scores", lambda _: 1 / 0)
    mbert_sweep()
    assert "the figure could not be drawn (ZeroDivisionError: division by zero)" in capsys.readouterr().err
    assert len(table(here)) == 3


def test_a_table_that_cannot_be_written_stops_the_trainings(here, monkeypatch):
    fail(here, SLOW)
    monkeypatch.setattr(child_training, "spawn", START)
    monkeypatch.setattr(child_training, "MBERT", stand_in.COMMAND)
    written = []

    def no_space(*words):
        written.append(words)
        if len(written) == 2:
            wait_until(lambda: "waiting" in logs(here)["g-none-seed-1"], "the slow training waits")
            raise UsageError("out: cannot be written")

    monkeypatch.setattr(procedure, "write_tables", no_space)
    with pytest.raises(UsageError, match="cannot be written"):
        mbert_sweep("-q", "-j", "2")
    run = RunFolder(here / "out" / "runs" / "g-none-seed-1")
    assert not in_use(run)
    assert run.newest_state()[0].name == "epoch-0000-step-00000001"


REAL = """\
seeds: [1]
settings: [training.epochs=1, training.state_every=1, encoder.sha256=null]
keep: metrics
rows:
  - {name: both, recipe: recipe.yaml}
  - {name: none, recipe: recipe.yaml, settings: ["adapters=[]"]}
"""
CPU = ("--precision", "fp32", "--device", "cpu", "--kernels", "torch")


def test_a_sweep_that_is_killed_goes_on_to_the_table_of_one_that_was_not(tiny_recipe, tmp_path, monkeypatch, capsys):
    """With real trainings; the first is killed within its epoch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(REAL)
    killed = start_sweep(tmp_path, *CPU, command=("-m", "mbert_cli.cli"))
    states = tmp_path / "out" / "runs" / "both-seed-1" / "state"
    wait_until(lambda: list(states.glob("epoch-0000-step-*")), "the first training has saved a state")
    killed.kill()
    killed.communicate(timeout=30)
    mbert_sweep(*CPU)
    killed = without_times((tmp_path / "out" / "table.tsv").read_text())
    assert all(row["done"] == "1" for row in killed.values())
    assert "resuming after epoch 0, step " in logs(tmp_path)["both-seed-1"]
    shutil.rmtree(tmp_path / "out")
    mbert_sweep(*CPU)
    assert without_times((tmp_path / "out" / "table.tsv").read_text()) == killed
