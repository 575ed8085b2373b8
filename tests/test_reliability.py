"""The reliability experiments, with a few trials each; `tests/benchmarks/reliability/run.py` runs them whole."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks" / "reliability"))

from run import all_experiments, run_trial

EXPERIMENTS = {name: each for name, each in all_experiments().items() if each.few}
ON_REAL_DATA = {"course_cells"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What trials share: the tiny recipe, a trained run and so on."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.real_data] * (name in ON_REAL_DATA)) for name in EXPERIMENTS]
)
def test_the_promise_is_kept(request, shared, name, figures):
    if name in ON_REAL_DATA:
        request.getfixturevalue("course_data")
    experiment = EXPERIMENTS[name]
    for turn in range(experiment.few):
        index = turn * experiment.trials // experiment.few  # spread over the trials, which may be of several kinds
        broken, _ = run_trial(experiment, name, 1, index, shared)
        assert not broken, f"{name}, trial {index} of seed 1: {broken}"


def test_every_row_of_the_table_is_tried():
    tried = {each.number for each in all_experiments().values()}
    assert tried == set(range(1, 22)) - {7, 16}  # there are no ranks
