"""The estimate of the time left, with a simulated clock."""

import itertools
from types import SimpleNamespace

import pytest
from tiny_runs import options

from mbert_cli.curricula import Phase
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.training import loop as training_run
from mbert_cli.training.fit import prepare
from mbert_cli.training.time_left import WITHOUT_INNER_ADAPTERS, TimeLeft, Work, work_of

ALL, OWN = (("mood", "same"), True), (("mood",), False)


def estimator(steps=100, evaluations=2, saves=2, work=None):
    return TimeLeft(work or {ALL: Work(steps, 1000.0)}, evaluations, 5000, saves, save_seconds=1.0)


def test_there_is_no_estimate_before_three_measured_steps():
    left = estimator()
    for seconds in (60.0, 1.0, 1.0):
        left.step(ALL, seconds, 1000)
        assert left.seconds() is None
    left.step(ALL, 1.0, 1000)
    assert left.seconds() is not None


def test_the_first_step_which_compiles_does_not_count():
    left = estimator(evaluations=0, saves=0)
    for seconds in (60.0, 1.0, 1.0, 1.0):
        left.step(ALL, seconds, 1000)
    assert left.seconds() == pytest.approx(96.0)


def test_the_newest_steps_count_by_their_tokens():
    left = estimator(evaluations=0, saves=0)
    for tokens in [1000] * 20 + [500, 1500] * 20:
        left.step(ALL, tokens * (0.001 if left.work[ALL].steps > 80 else 0.003), tokens)
    assert left.seconds() == pytest.approx(40 * 3.0)


def test_evaluations_and_saves_are_part_of_the_time_left():
    left = estimator(steps=4)
    for _ in range(4):
        left.step(ALL, 1.0, 1000)
    assert left.seconds() == pytest.approx(2 * 0.37 * 5 + 2 * 1.0)  # forward pass of 5,000 tokens, estimate of a save
    left.evaluated(7.0)
    left.saved(3.0)
    assert left.seconds() == pytest.approx(7.0 + 3.0)


def test_a_kind_without_measured_steps_is_estimated_from_the_others():
    left = estimator(evaluations=0, saves=0, work={ALL: Work(4, 1000.0), OWN: Work(10, 200.0)})
    for _ in range(4):
        left.step(ALL, 1.0, 1000)
    assert left.seconds() == pytest.approx(10 * 0.2 * 0.75)
    for _ in range(5):
        left.step(OWN, 0.3, 200)
    assert left.seconds() == pytest.approx(5 * 0.3)


def test_a_frozen_encoder_without_inner_adapters_costs_less():
    left = TimeLeft({OWN: Work(14, 1000.0), ALL: Work(10, 1000.0)}, 0, 5000, 0, 1.0, WITHOUT_INNER_ADAPTERS)
    for _ in range(4):
        left.step(OWN, 0.4, 1000)
    assert left.seconds() == pytest.approx(10 * 0.4 + 10 * 1.0)


def test_work_is_counted_by_kind_with_the_tokens_of_its_rows():
    together = Phase([("mood", "same")] * 2, {"mood": 15, "same": 16}, "everything")
    alone = Phase([("mood",)] * 3, {"mood": 24}, "own")
    phases = [(together, together.steps, True), (alone, alone.steps, False)]
    rows = {"mood": 10.0, "same": 20.0}
    assert work_of(phases, rows) == {ALL: Work(2, 7.5 * 10 + 8 * 20), OWN: Work(3, 80.0)}
    assert work_of(phases, rows, skip=3) == {OWN: Work(2, 80.0)}


@pytest.mark.parametrize("curriculum", ["hybrid", "annealed"])
def test_the_time_left_of_a_run_is_right_within_a_third(tiny_recipe, tmp_path, monkeypatch, curriculum):
    """Every step and evaluation advances the clock in proportion to its tokens; the first step takes a minute more."""
    now = [0.0]
    monkeypatch.setattr(training_run, "time", SimpleNamespace(monotonic=lambda: now[0]))
    settings = [f"curriculum={curriculum}", "training.epochs=6", "training.batch_size=4", "training.state_every=null"]
    folder = RunFolder(tmp_path / "run")
    with locked(folder):
        run = prepare(load_recipe(str(tiny_recipe), settings), folder, options())
    estimates, compiling = [], itertools.chain([60.0], itertools.repeat(0.0))
    take_step, evaluate, count_step = run.step, training_run.evaluate, run.time_left.step

    def step(rows):
        results = take_step(rows)
        encoder = next(run.model.encoder.parameters()).requires_grad
        tokens = sum(run.data.train[task].count_tokens(own) for task, own in rows.items())
        now[0] += tokens * (0.1 if encoder else 0.06) + next(compiling)
        return results

    def scored(model, dev, **options):
        now[0] += 0.04 * sum(int(data.lengths.sum()) for data in dev.values())
        return evaluate(model, dev, **options)

    def counted(*arguments):
        count_step(*arguments)
        estimates.append((now[0], run.time_left.seconds()))

    step.stop, step.read, step.learning_rate = None, take_step.read, 0.0
    monkeypatch.setattr(run, "step", step)
    monkeypatch.setattr(training_run, "evaluate", scored)
    monkeypatch.setattr(run.time_left, "step", counted)
    run.run()
    known = [(at, left) for at, left in estimates if left is not None]
    assert len(known) > 0.8 * len(estimates)
    for at, left in known:
        assert left == pytest.approx(now[0] - at, rel=1 / 3), f"at {at} of {now[0]}"
