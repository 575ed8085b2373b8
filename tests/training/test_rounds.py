"""Evaluations within epochs, and the limits that end a run."""

import itertools
import json
from types import SimpleNamespace

import pytest
from crashes import contents, dying_after
from tiny_runs import train

from mbert_cli.machine.process_group import Processes
from mbert_cli.model.components import load_recipe
from mbert_cli.recipe.ending import ending_warnings
from mbert_cli.recipe.sections import TrainingSection
from mbert_cli.storage.metrics_file import is_complete
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training import loop, rounds
from mbert_cli.training.phases import RunPhases
from mbert_cli.training.rounds import Rounds, lines_of
from mbert_cli.training.state import TrainingState

SIZES = {"mood": 20, "same": 30, "near": 12}  # in batches of 8: sequential epochs have 3 + 4 + 2 steps, others 3
FLAT = ("curriculum=simultaneous", "loss_balancing=total")


def lines(folder):
    return RunFolder(folder).read_metrics()


@pytest.fixture
def run(tmp_path):
    """A folder for a run."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def scores(monkeypatch):
    """Return a function that sets the scores of the next evaluations; the last one repeats."""

    def given(*values):
        left = itertools.chain(values, itertools.repeat(values[-1]))
        monkeypatch.setattr(loop, "selected", lambda *_: next(left))

    return given


def planned(tiny_recipe, *settings):
    recipe = load_recipe(str(tiny_recipe), settings)
    return recipe.training, RunPhases(recipe, SIZES)


@pytest.mark.parametrize(
    ("settings", "steps", "expected"),
    [
        ([], 12, (2, 2)),  # hybrid: 9 steps, then 3
        (["training.select_after=0.5"], 12, (2, 1)),
        (["training.evaluate_every=5"], 12, (3, 3)),  # after 5, 10 and 12 steps
        (["training.evaluate_every=4"], 12, (3, 3)),
        (["training.evaluate_every=5", "training.select_after=0.5"], 12, (3, 2)),
        (["training.evaluate_every=50"], 12, (1, 1)),
        (["training.max_steps=7"], 7, (1, 1)),
        (["training.max_steps=10"], 10, (2, 2)),
        (["training.max_steps=7", "training.select_after=0.5"], 7, (1, 1)),
        (["training.max_steps=70"], 12, (2, 2)),
    ],
)
def test_steps_and_lines_are_known_before_training(tiny_recipe, settings, steps, expected):
    training, phases = planned(tiny_recipe, *settings)
    assert phases.total_steps == steps
    assert lines_of(training, phases) == expected
    assert sum(len(taken) for *_, taken in phases.planned()) == steps


def test_a_shuffled_epoch_that_is_cut_is_planned_with_steps_of_all_tasks(tiny_recipe):
    _, phases = planned(tiny_recipe, "curriculum=proportional", "training.max_steps=4")
    ((_, _, steps),) = phases.planned()
    assert {task for tasks in steps for task in tasks} == set(SIZES)


@pytest.fixture(scope="module")
def evaluated(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A recipe, and its run of 12 steps with an evaluation every 5 steps."""
    import tiny

    folder = tmp_path_factory.mktemp("evaluated")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    (folder / "run").mkdir()
    train(recipe, folder / "run", "training.evaluate_every=5", "training.state_every=1")
    return recipe, folder / "run"


def test_dev_is_scored_after_so_many_steps_and_at_the_end(evaluated):
    records = lines(evaluated[1])
    assert [(each.epoch, each.step, each.of_epoch, each.ended) for each in records] == [
        (1, 5, 1, None),
        (2, 10, 2, None),
        (3, 12, 2, "epochs"),
    ]
    assert all(each.tasks and each.round_name == "evaluation" for each in records)
    # The first evaluation follows the phase of mood and 2 of the 4 steps of same; see SIZES.
    assert records[0].rows == {"mood": 20, "same": 16}
    assert sum(sum(each.rows.values()) for each in records) == 20 + 30 + 12 + 3 * 20
    assert is_complete(records, None)
    assert not is_complete(records[:2], None)


def test_the_model_of_the_best_evaluation_is_kept(evaluated):
    kept = json.loads((evaluated[1] / "model" / "config.json").read_text())["scores"]
    best = max(lines(evaluated[1]), key=lambda each: each.overall)
    assert (kept["epoch"], kept["step"], kept["overall"]) == (best.epoch, best.step, best.overall)
    assert "ended" not in kept


# Within a round, at its end, at the end of the epoch within a round, and at the last step.
@pytest.mark.parametrize("death", [(0, 3), (0, 5), (0, 9), (1, 1), (1, 3)])
def test_a_run_with_evaluations_within_epochs_resumes_to_the_same_bytes(evaluated, run, death):
    settings = ("training.evaluate_every=5", "training.state_every=1")
    with dying_after(*death):
        train(evaluated[0], run, *settings)
    train(evaluated[0], run, *settings, resume=True)
    whole = contents(evaluated[1])
    figures = {name for name in whole if name.startswith("figures/")}
    assert figures
    assert contents(run) == {name: each for name, each in whole.items() if name not in figures}


@pytest.mark.parametrize(("every", "counted"), [("null", "epoch"), ("2", "evaluation")])
def test_patience_counts_epochs_or_evaluations(tiny_recipe, run, scores, every, counted):
    settings = (*FLAT, "training.epochs=9", "training.patience=2", f"training.evaluate_every={every}")
    scores(0.1, 0.3, 0.2, 0.3)  # an equal score is no improvement
    assert train(tiny_recipe, run, *settings).epoch == 2
    records = lines(run)
    assert [each.ended for each in records] == [None, None, None, "patience"]
    assert records[-1].round_name == counted
    assert is_complete(records, 9)


def test_patience_is_kept_over_a_resume_and_can_be_raised(tiny_recipe, run, scores):
    settings = (*FLAT, "training.epochs=6", "training.state_every=1")
    scores(0.5, 0.1)
    with dying_after(2, 1):
        train(tiny_recipe, run, *settings, "training.patience=2")
    train(tiny_recipe, run, *settings, "training.patience=2", resume=True)
    assert [each.ended for each in lines(run)] == [None, None, "patience"]
    train(tiny_recipe, run, *settings, "training.patience=2", resume=True)  # it has ended
    assert len(lines(run)) == 3
    train(tiny_recipe, run, *settings, "training.patience=4", resume=True)
    assert [each.ended for each in lines(run)] == [None, None, "patience", None, "patience"]


def test_patience_completes_an_epoch_that_trains_the_tasks_one_after_another(tiny_recipe, run, scores):
    settings = ("curriculum=sequential", "training.epochs=3", "training.patience=1", "training.evaluate_every=2")
    scores(0.5, 0.1)
    train(tiny_recipe, run, *settings)
    assert [each.step for each in lines(run)] == [2, 4, 6, 8, 9]
    assert lines(run)[-1].ended == "patience"


def test_an_improvement_at_the_end_of_such_an_epoch_restores_the_patience(tiny_recipe, run, scores):
    settings = ("curriculum=sequential", "training.epochs=2", "training.patience=1", "training.evaluate_every=4")
    scores(0.5, 0.1, 0.6, 0.7)
    train(tiny_recipe, run, *settings)
    assert [each.step for each in lines(run)] == [4, 8, 9, 12, 16, 18]
    assert lines(run)[-1].ended == "epochs"


def test_max_steps_ends_the_run_and_its_schedule_and_is_resumed_exactly(tiny_recipe, tmp_path):
    settings = ("training.max_steps=7", "training.schedule=cosine", "training.warmup=0", "training.state_every=1")
    for name in "ab":
        (tmp_path / name).mkdir()
    train(tiny_recipe, tmp_path / "a", *settings)
    (record,) = lines(tmp_path / "a")
    assert (record.step, record.ended, record.best) == (7, "max_steps", True)
    with dying_after(0, 7):
        train(tiny_recipe, tmp_path / "b", *settings)
    train(tiny_recipe, tmp_path / "b", *settings, resume=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    with pytest.raises(Exception, match=r"training\.max_steps was 7 and is now 8"):
        train(tiny_recipe, tmp_path / "b", *settings, "training.max_steps=8", resume=True)


def test_more_steps_continue_a_run_with_a_constant_learning_rate(tiny_recipe, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    train(tiny_recipe, tmp_path / "a", "training.max_steps=9")
    train(tiny_recipe, tmp_path / "b", "training.max_steps=4")
    train(tiny_recipe, tmp_path / "b", "training.max_steps=9", resume=True)
    assert [(each.step, each.ended) for each in lines(tmp_path / "b")] == [(4, "max_steps"), (9, "max_steps")]
    states = [contents(tmp_path / name / "state" / "epoch-0001" / "encoder") for name in "ab"]
    assert states[0] == states[1]


def test_a_limit_ends_before_the_epochs_that_select_after_selects(tiny_recipe, run):
    settings = ("training.max_steps=4", "training.select_after=0.5")
    assert train(tiny_recipe, run, *settings).ended == "max_steps"


@pytest.fixture
def clock(monkeypatch):
    """A clock of rounds that advances by 25 seconds at each look."""
    now = itertools.count(100, 25)
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: float(next(now))))


def test_max_time_counts_the_time_of_all_processes_of_a_run(tiny_recipe, run, clock):
    settings = (*FLAT, "training.epochs=9", "training.max_time=1min", "training.state_every=1")
    with dying_after(0, 2):
        train(tiny_recipe, run, *settings)
    state = json.loads((run / "state" / "epoch-0000-step-00000002" / "state.json").read_text())
    assert state["position"]["spent"] == 50
    train(tiny_recipe, run, *settings, resume=True)
    (record,) = lines(run)
    assert (record.step, record.ended) == (3, "max_time")
    train(tiny_recipe, run, *settings, resume=True)
    assert lines(run) == [record]
    train(tiny_recipe, run, *settings, "training.max_time=3min", resume=True)
    assert lines(run)[-1].ended == "max_time"
    assert lines(run)[-1].step > 3


def test_the_model_card_says_why_the_run_ended(tiny_recipe, run, scores):
    scores(0.5, 0.1)
    settings = (*FLAT, "training.epochs=4", "training.patience=1")
    train(tiny_recipe, run, *settings)
    model = contents(run / "model")
    text = model["README.md"].decode()
    assert "\n- training ended early: the score did not improve for 1 epoch (training.patience)\n" in text
    assert "\n- limits of training: patience 1\n" in text
    train(tiny_recipe, run, *settings, resume=True)
    assert contents(run / "model") == model
    assert RunFolder(run).newest_state()[1] == []


def test_the_clock_of_the_first_process_decides_for_all(tiny_recipe, clock):
    training, phases = planned(tiny_recipe, "training.max_time=1min")

    class Second(Processes):
        """The second of two processes; `first` is what the first one adds."""

        first = 0.0

        def add(self, tensor):
            return tensor + Second.first

    processes, state = Second(1, 2), TrainingState(epoch_step=1, round_steps=1, step=1)
    decisions = Rounds(training, phases, state, processes)
    for _ in range(5):
        decisions.note_time()
    assert state.spent > 60
    assert decisions.reason() is None
    Second.first = 1.0
    decisions.note_time()
    assert decisions.reason() == "max_time"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.max_steps=50"], "max_steps is 50, but 2 epochs have 12 steps; set training.epochs higher"),
        (["training.evaluate_every=12"], "evaluate_every is 12, but the run has 12 steps: dev is scored once"),
        (["training.patience=2"], "patience is 2 and cannot end the run, which has 2 epochs; set it lower"),
        (["training.patience=3", "training.evaluate_every=5"], "cannot end the run, which has 3 evaluations"),
        (["training.patience=1"], "patience is 1: an epoch of curriculum hybrid that trains only adapters"),
    ],
)
def test_limits_without_effect_are_reported(tiny_recipe, settings, message):
    recipe = load_recipe(str(tiny_recipe), settings)
    (warning,) = ending_warnings(recipe, RunPhases(recipe, SIZES).total_steps)
    assert message in warning


def test_sensible_limits_cause_no_warning(tiny_recipe):
    settings = ["training.patience=2", "training.epochs=9", "training.max_steps=20", "training.max_time=30min"]
    recipe = load_recipe(str(tiny_recipe), settings)
    assert ending_warnings(recipe, RunPhases(recipe, SIZES).total_steps) == []


def test_the_defaults_have_no_limit():
    training = TrainingSection()
    limits = (training.patience, training.evaluate_every, training.max_steps, training.max_time)
    assert (*limits, training.gradient_checkpointing) == (None, None, None, None, False)
