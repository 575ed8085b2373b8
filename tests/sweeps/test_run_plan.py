"""Sweeps, most of them with stand-ins for training runs (see `stand_in`); the last test trains."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in
from sweeping import (
    KILLED,
    NOT_FINITE,
    PLAN,
    SLOW,
    START,
    fail,
    logs,
    mbert_sweep,
    start_sweep,
    starts,
    table,
    wait_until,
    without_times,
)

from mbert_cli.errors import RunFailedError, UsageError
from mbert_cli.machine import child_process as child_training
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import in_use
from mbert_cli.sweeps import run_plan as procedure


def test_finished_runs_are_skipped_without_loading_torch(here, capsys):
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
def test_a_finished_run_keeps_what_the_plan_says(here, keep, left):
    (here / "plan.yaml").write_text(PLAN.replace("keep: metrics", f"keep: {keep}"))
    mbert_sweep("-q")
    run = here / "out" / "runs" / "g-none-seed-1"
    assert {each.name for each in run.iterdir()} - {".lock"} == left
    mbert_sweep("-q")
    assert set(starts(here).values()) == {1}


class Death(BaseException):
    pass


@pytest.mark.parametrize("done", range(4))
def test_a_death_during_the_removal_of_parts_leaves_a_finished_run(here, monkeypatch, done):
    """The process dies after it has removed `done` of four parts and half of the next."""
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


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [(NOT_FINITE, 5, "the loss is nan"), (KILLED, 137, "threads free")],
)
def test_a_failed_run_is_reported_and_the_others_continue(here, capsys, setting, code, message):
    fail(here, setting)
    with pytest.raises(RunFailedError) as caught:
        mbert_sweep()
    assert caught.value.exit_code == code
    failure = f"failed with exit code {code}: {message}"
    note = f"none, seed 1: {failure} (out/logs/g-none-seed-1.log)"
    assert str(caught.value) == f"out: not all runs are done: {note}; and 1 more. Run the same command again to retry."
    shown = capsys.readouterr()
    assert f"[2/4] {note}" in shown.err
    assert "2 of 4 runs are done." in shown.out
    assert failure in shown.out
    rows = table(here)
    assert [rows["G", name]["done"] for name in ("both", "none")] == ["2", "0"]
    for name in ("table.md", "table.html"):
        assert failure in (here / "out" / name).read_text()


def test_the_next_sweep_retries_failed_runs(here):
    fail(here, NOT_FINITE)
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    assert starts(here) == {"g-both-seed-1": 1, "g-both-seed-2": 1, "g-none-seed-1": 2, "g-none-seed-2": 2}
    assert "--resume" in logs(here)["g-none-seed-1"].splitlines()[-4]


def test_the_exit_code_is_that_of_the_first_failed_run(here):
    fail(here, KILLED)
    broken = f"name: both, settings: [{NOT_FINITE}],"
    (here / "plan.yaml").write_text((here / "plan.yaml").read_text().replace("name: both,", broken))
    done = start_sweep(here, "-q")
    _, err = done.communicate(timeout=300)
    assert done.returncode == 5
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_a_bad_plan_exits_with_2_and_writes_nothing(here):
    (here / "plan.yaml").write_text("rows:\n  - {name: a, recipe: nowhere}\n")
    done = start_sweep(here)
    _, err = done.communicate(timeout=300)
    assert done.returncode == 2
    assert err.startswith("plan.yaml:2: rows[0].recipe is 'nowhere'")
    assert len(err.splitlines()) == 1
    assert not (here / "out").exists()


def test_jobs_run_at_the_same_time_and_share_the_cores(here, monkeypatch):
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


@pytest.fixture
def two_gpus(monkeypatch):
    """PyTorch finds two GPUs, which no test uses."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("mbert_cli.machine.hardware.choose", lambda *_: None)


@pytest.mark.parametrize(
    ("device", "devices"),
    [
        ("auto", ["cuda:0", "cuda:1", "cuda:0", "cuda:0"]),
        ("cuda:1", ["cuda:1"] * 4),
        ("cpu", ["cpu"] * 4),
    ],
)
def test_runs_at_the_same_time_use_the_gpus_in_turn(here, capsys, two_gpus, device, devices):
    """The fourth run starts after the three others have ended."""
    mbert_sweep("--jobs", "3", "--device", device)
    texts = [logs(here)[name] for name in ("g-both-seed-1", "g-none-seed-1", "g-both-seed-2", "g-none-seed-2")]
    assert [re.search("--device (.*?) ", text)[1] for text in texts] == devices
    printed = re.findall("seed .: training on (.*);", capsys.readouterr().err)
    assert printed == (devices if device == "auto" else [])


def test_a_run_keeps_the_number_of_threads_that_it_was_started_with(here, monkeypatch):
    monkeypatch.setattr(child_training, "cores", lambda: 6)
    fail(here, NOT_FINITE)
    with pytest.raises(RunFailedError):
        mbert_sweep("-q", "-j", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    lines = logs(here)["g-none-seed-1"].splitlines()
    assert [line for line in lines if line.startswith("threads")] == ["threads 2", "threads 2"]


def test_jobs_share_the_threads_that_the_user_chose(here, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    mbert_sweep("-q", "-j", "2")
    assert all("threads 2\n" in text for text in logs(here).values())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_trainings_receive_the_signal_and_save_their_progress(here, number, code):
    fail(here, SLOW)
    first = start_sweep(here, "--jobs", "2")
    wait_until(lambda: "waiting" in logs(here).get("g-none-seed-1", ""), "the slow training waits")
    first.send_signal(number)
    _, err = first.communicate(timeout=300)
    assert first.returncode == code
    last = err.splitlines()[-1]
    assert last.startswith("out: stopped; ")
    assert last.endswith("the progress of the others is saved. Run the same command again to continue.")
    assert logs(here)["g-none-seed-1"].splitlines()[-2:] == [
        "out/runs/g-none-seed-1: stopped, saved.",
        f"mbert sweep: the training ended with exit code {code}",
    ]
    assert "none, seed 1: was stopped; 0 of 2 epochs done" in (here / "out" / "table.md").read_text()
    assert RunFolder(here / "out" / "runs" / "g-none-seed-1").newest_state()[0].name == "epoch-0000-step-00000001"


@pytest.mark.skipif(
    sys.platform != "linux", reason="on other systems training processes outlive the sweep, and the next sweep waits"
)
def test_trainings_end_if_their_sweep_is_killed(here):
    fail(here, SLOW)
    first = start_sweep(here)
    wait_until(lambda: "waiting" in logs(here).get("g-none-seed-1", ""), "the slow training waits")
    first.kill()
    first.communicate(timeout=300)
    run = RunFolder(here / "out" / "runs" / "g-none-seed-1")
    wait_until(lambda: not in_use(run), "the training has ended")
    assert run.newest_state()[0].name == "epoch-0000-step-00000001"


def test_a_sweep_waits_for_a_run_that_another_process_trains(here, capsys):
    mbert_sweep("-q")
    run = RunFolder(here / "out" / "runs" / "g-none-seed-2")
    lines = run.metrics_file.read_text()
    run.metrics_file.write_text(lines.splitlines(keepends=True)[0])
    # A process that finishes the last epoch of the run while the sweep waits.
    code = (
        "import sys, time; from pathlib import Path; from mbert_cli.storage.run_folder import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1]))\n"
        "from mbert_cli.storage.run_lock import locked\n"
        "with locked(run, resume=True):\n"
        "    print('held', flush=True); sys.stdin.readline(); run.metrics_file.write_text(sys.argv[2])"
    )
    words = [sys.executable, "-c", code, str(run.path), lines]
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    mbert_sweep("--table")
    assert "none, seed 2: is being trained; 1 of 2 epochs done" in capsys.readouterr().out
    sweep = start_sweep(here)
    assert sweep.stderr.readline() == "3 of 4 runs are done already\n"
    waiting = f"none, seed 2: another process is training {Path('out/runs/g-none-seed-2')}; waiting for its end\n"
    assert sweep.stderr.readline() == waiting
    other.communicate("\n", timeout=300)
    shown, _ = sweep.communicate(timeout=300)
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


def test_invalid_options_are_rejected_before_any_run_starts(here):
    with pytest.raises(UsageError, match="--precision is 'fp12'"):
        mbert_sweep("--precision", "fp12")
    with pytest.raises(UsageError, match="--table and --dry-run cannot be used together"):
        mbert_sweep("--table", "--dry-run")
    assert not (here / "out").exists()


def test_a_run_that_another_process_locks_first_is_retried(here, monkeypatch):
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


def test_trainings_stop_if_the_table_cannot_be_written(here, monkeypatch):
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


def test_a_killed_and_resumed_sweep_has_the_table_of_an_uninterrupted_one(tiny_recipe, tmp_path, monkeypatch, capsys):
    """With real training runs. The first one is killed during its epoch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(REAL)
    killed = start_sweep(tmp_path, *CPU, command=("-m", "mbert_cli.cli"))
    states = tmp_path / "out" / "runs" / "both-seed-1" / "state"
    wait_until(lambda: list(states.glob("epoch-0000-step-*")), "the first training has saved a state")
    killed.kill()
    killed.communicate(timeout=300)
    mbert_sweep(*CPU)
    killed = without_times((tmp_path / "out" / "table.tsv").read_text())
    assert all(row["done"] == "1" for row in killed.values())
    assert "resuming after epoch 0, step " in logs(tmp_path)["both-seed-1"]
    shutil.rmtree(tmp_path / "out")
    mbert_sweep(*CPU)
    assert without_times((tmp_path / "out" / "table.tsv").read_text()) == killed
