"""Sweeps for the tests: most of them with stand-ins for training runs, see `stand_in`."""

import csv
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import stand_in
from rich.console import Console

from mbert_cli.cli import app
from mbert_cli.machine import child_process as child_training
from mbert_cli.sweeps.folder import SweepFolder
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

# The command line with stand-ins for training runs.
DRIVER = (
    "import sys; from mbert_cli import cli; from mbert_cli.machine import child_process; import stand_in\n"
    "child_process.MBERT = stand_in.COMMAND; cli.main()"
)  # fmt: skip


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
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within five minutes: {what}")


def logs(here):
    return {path.stem: path.read_text() for path in sorted((here / "out" / "logs").glob("*.log"))}


def starts(here):
    """Return how often the training of each run was started or resumed."""
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


def fail(here, setting):
    (here / "plan.yaml").write_text(PLAN.replace('"adapters=[]"', f'"adapters=[]", {setting}'))


def printed(here, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(sweep_table(result_of(here)))
    return console.file.getvalue()
