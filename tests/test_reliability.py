"""The reliability experiments, with a few trials each. `tests/benchmarks/reliability/run.py` runs all trials."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks" / "reliability"))

import equal_processes
import killed_parts
import killed_prediction
import shared_rows
import steady_predictions
from run import all_experiments, item, run_trial

from mbert_cli.commands.guide import PAGES

EXPERIMENTS = all_experiments()
MARKS = {"course_cells": pytest.mark.real_data, "batches_and_neighbours": pytest.mark.real_weights}
NEEDS = {"course_cells": "course_data", "batches_and_neighbours": "minilm"}
# A trial starts two clusters, which takes a minute. The test named here does the same on a cluster that tests share, or
# runs the code of the workers.
ELSEWHERE = {
    "killed_ray": "ray/test_engine.py::test_a_killed_actor_and_a_killed_command_lose_and_double_nothing",
    "long_prediction_on_ray": "test_reliability.py::test_the_promise_is_kept",
}
FEW_ROWS = {"texts": 30, "repeated": 200, "few": 20, "evaluated": 200, "predicted": 200}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder for what the trials share, such as the tiny recipe and a trained run."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in EXPERIMENTS if name not in ELSEWHERE]
)
def test_the_promise_is_kept(request, shared, name, figures, monkeypatch):
    if name in NEEDS:
        request.getfixturevalue(NEEDS[name])
    monkeypatch.setattr(steady_predictions, "ROWS", FEW_ROWS)
    monkeypatch.setattr(killed_prediction, "ROWS", 40_000)  # five pieces
    monkeypatch.setattr(killed_parts, "ROWS", 1_203)
    monkeypatch.setattr(killed_parts, "PARTS", 3)
    monkeypatch.setattr(killed_parts, "MOST_ROWS", 50)  # nine or ten pieces of a part
    monkeypatch.setattr(killed_parts, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(shared_rows, "ROWS", 150)
    monkeypatch.setattr(equal_processes, "CASES", 4)
    monkeypatch.setattr(equal_processes, "PROCESSES", (3,))
    experiment = EXPERIMENTS[name]
    for turn in range(experiment.few):
        index = turn * experiment.trials // experiment.few  # spread over all trials, because their kinds differ
        broken, _ = run_trial(experiment, name, 1, index, shared)
        assert not broken, f"{name}, trial {index} of seed 1: {broken}"


def test_every_experiment_has_trials_in_the_test_suite():
    assert {name for name, each in EXPERIMENTS.items() if not each.few} == set(ELSEWHERE)


def test_tests_elsewhere_exist():
    for place in ELSEWHERE.values():
        file, name = place.split("::")
        assert f"def {name}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")


def test_the_guide_lists_every_experiment():
    page = " ".join((PAGES / "reliability.md").read_text(encoding="utf-8").split())
    listed = page.count("- **")
    assert [item(each) for each in EXPERIMENTS.values() if item(each) not in page] == []
    assert listed == len(EXPERIMENTS)
