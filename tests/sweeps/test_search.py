"""Searches, with stand-ins for training runs (see `stand_in`)."""

import csv
import io
import json
import shutil
import warnings

import optuna
import pytest
import stand_in
from rich.console import Console
from sweeping import KILLED, mbert_sweep, starts

from mbert_cli.cli import app
from mbert_cli.errors import RunFailedError, Stopped, UsageError
from mbert_cli.machine import child_process as child_training
from mbert_cli.sweeps.folder import SweepFolder
from mbert_cli.sweeps.importance import with_importance
from mbert_cli.sweeps.plan import read_plan
from mbert_cli.sweeps.results import read_results
from mbert_cli.sweeps.run_search import runs_so_far
from mbert_cli.sweeps.terminal_table import sweep_table
from mbert_cli.sweeps.trials import medians

TRIALS, EPOCHS, SEED = 9, 3, 7
SEARCH = f"""\
title: Two ranges
seeds: [1]
settings: [training.epochs={EPOCHS}]
keep: metrics
search:
  recipe: recipe.yaml
  trials: {TRIALS}
  seed: {SEED}
  ranges:
    training.weight_decay: {{uniform: [0, 0.3]}}
    adapters: [[], [top], [top, low_rank]]
"""
ADAPTERS = ([], ["top"], ["top", "low_rank"])


def of_optuna(trials=TRIALS):
    """Return the trials of Optuna's own search, which prunes after every epoch but the last."""

    def objective(trial):
        decay = trial.suggest_float("training.weight_decay", 0, 0.3)
        adapters = json.loads(trial.suggest_categorical("adapters", [json.dumps(each) for each in ADAPTERS]))
        for epoch in range(1, EPOCHS + 1):
            score = stand_in.accuracy(epoch, 1, len(adapters), decay)
            trial.report(score, epoch)
            if epoch < EPOCHS and trial.should_prune():
                raise optuna.TrialPruned
        return score

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=SEED),
            pruner=optuna.pruners.MedianPruner(),
        )
        study.optimize(objective, n_trials=trials)
    optuna.logging.set_verbosity(level)
    return study


def rows(folder):
    return list(csv.DictReader(io.StringIO((folder / "out" / "table.tsv").read_text()), delimiter="\t"))


def result_of(here):
    plan, runs = runs_so_far(read_plan(here / "plan.yaml", lambda *_: []), SweepFolder(here / "out"), 1)
    return with_importance(read_results(plan, runs))


@pytest.fixture
def search(here):
    """The working folder, with a search; nothing is trained yet."""
    (here / "plan.yaml").write_text(SEARCH, encoding="utf-8")
    return here


@pytest.fixture
def done(search, tmp_path_factory, capsys):
    """The working folder, with a search that has ended. The search runs once, and the tests share its folder."""
    kept = tmp_path_factory.getbasetemp() / "finished-search"
    if not kept.exists():
        mbert_sweep("-q")
        shutil.copytree(search / "out", kept)
        for file in kept.glob("recipes/*.yaml"):  # their paths are those of the first test
            file.write_text(file.read_text().replace(str(search), "SEARCH"))
    else:
        shutil.copytree(kept, search / "out")
    for file in (search / "out").glob("recipes/*.yaml"):
        file.write_text(file.read_text().replace("SEARCH", str(search)))
    capsys.readouterr()
    return search


def test_the_trials_are_those_of_optuna(done):
    expected, table = of_optuna().trials, rows(done)
    assert len(table) == TRIALS
    for row, trial in zip(table, expected, strict=True):
        assert float(row["training.weight_decay"]) == trial.params["training.weight_decay"]
        assert row["adapters"] == trial.params["adapters"]
        # A pruned trial stops after the epoch at which Optuna prunes it.
        assert (row["state"], int(row["epochs"])) == (
            {"COMPLETE": "done", "PRUNED": "pruned"}[trial.state.name],
            len(trial.intermediate_values),
        )
        assert row["overall_mean"] == ("" if trial.state.name == "PRUNED" else repr(trial.value))
    assert {row["state"] for row in table} == {"done", "pruned"}


def test_the_importance_is_that_of_optuna(done):
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=SEED)
    expected = optuna.importance.get_param_importances(of_optuna(), evaluator=evaluator)
    result = result_of(done)
    assert result.importance == expected
    assert (done / "out" / "search.png").read_bytes().startswith(b"\x89PNG")
    assert result.as_json()["importance"] == expected
    check_tables(result)


def check_tables(result):
    """Check that the printed table is complete at every width."""
    for width in (40, 60, 80, 160):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(sweep_table(result))
        text = console.file.getvalue()
        words = " ".join(text.replace("│", " ").split())
        count = f"{TRIALS} of {TRIALS} trials: "
        for message in (f"trial {TRIALS}", "weight_decay", "pruned 1/3", "importance", "Best: trial ", count):
            assert message in words, (message, text)
        assert max(map(len, text.splitlines())) <= max(width, 70), "only commands and settings are not broken"


def test_a_finished_search_trains_nothing(done, capsys):
    before = (done / "out" / "table.tsv").read_bytes()
    mbert_sweep()
    shown = capsys.readouterr()
    assert shown.err == f"{TRIALS} of {TRIALS} runs are done already\n"
    assert set(starts(done).values()) == {1}
    assert (done / "out" / "table.tsv").read_bytes() == before
    best = max((row for row in rows(done) if row["overall_mean"]), key=lambda row: float(row["overall_mean"]))
    number = best["row"].removeprefix("trial ")
    assert f"Best: trial {number}, overall {float(best['overall_mean']):.3f}: " in shown.out
    assert f"training.weight_decay={best['training.weight_decay']}" in shown.out
    assert f"Train it again: mbert train out/recipes/trial-{number}-seed-1.yaml -o runs/trial-{number}-seed-1" in (
        " ".join(shown.out.split())
    )


@pytest.mark.parametrize("at", [2, 9])
def test_a_search_continues_where_it_was_stopped(done, at):
    """Trial `at` was stopped after its first epoch; the later ones were not suggested."""
    before = (done / "out" / "table.tsv").read_bytes()
    out = done / "out"
    for number in range(at, TRIALS + 1):
        name = f"trial-{number}-seed-1"
        if number == at:
            metrics = out / "runs" / name / "metrics.jsonl"
            first = json.loads(metrics.read_text().splitlines()[0])
            metrics.write_text(json.dumps({**first, "ended": None}) + "\n")
        else:
            shutil.rmtree(out / "runs" / name)
            (out / "logs" / f"{name}.log").unlink()
    mbert_sweep("-q")
    assert (out / "table.tsv").read_bytes() == before
    assert {name for name, times in starts(done).items() if times == 2} == {f"trial-{at}-seed-1"}


def test_the_trials_at_the_same_time_do_not_depend_on_their_durations(search, monkeypatch):
    """Odd trials take longer. A stopped search continues with the number of trials that it was started with."""
    (search / "plan.yaml").write_text(SEARCH.replace(f"trials: {TRIALS}", "trials: 5"))
    mbert_sweep("-q", "-j", "2")
    tables = [(search / "out" / "table.tsv").read_bytes()]
    shutil.rmtree(search / "out")
    started = []

    class Slow(stand_in.Process):
        """Ends at once, or after three polls."""

        def __init__(self, words, threads, log):
            started.append(words)
            if len(started) == 4:
                raise Stopped(15)
            super().__init__(words, threads, log)
            self.left = 3 if "trial-1" in words[1] or "trial-3" in words[1] else 0

        def poll(self):
            self.left -= 1
            return self.returncode if self.left < 0 else None

        def send_signal(self, number):
            pass

    monkeypatch.setattr(child_training, "spawn", Slow)
    with pytest.raises(Stopped, match="out: stopped; "):
        mbert_sweep("-q", "-j", "2")
    mbert_sweep("-q", "-j", "1")
    tables.append((search / "out" / "table.tsv").read_bytes())
    assert tables[0] == tables[1]
    assert json.loads((search / "out" / "search.json").read_text()) == {"parallel": 2}


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (stand_in.NOT_FINITE, "failed with exit code 5: the loss is nan"),
        (stand_in.NO_MEMORY, "failed with exit code 4: out of memory"),
    ],
)
def test_a_loss_that_is_not_finite_or_too_little_memory_is_a_result_of_a_trial(search, capsys, fault, problem):
    """Such a trial is not repeated: later trials are suggested without it."""
    ranges = f"    training.learning_rate: [1e-3, {fault:g}]\n"
    text = SEARCH.partition("    training.weight")[0].replace(f"trials: {TRIALS}", "trials: 4") + ranges
    (search / "plan.yaml").write_text(text)
    mbert_sweep()
    assert problem in capsys.readouterr().out
    assert {row["state"] for row in rows(search)} == {"done", "failed"}
    assert len(starts(search)) == 2  # trials with the same values share a run
    mbert_sweep("-q")
    assert set(starts(search).values()) == {1}


def test_a_killed_trial_ends_the_search_which_repeats_it(search):
    (search / "plan.yaml").write_text(SEARCH.replace("epochs=3]", f"epochs=3, {KILLED}]"))
    for times in (1, 2):
        with pytest.raises(RunFailedError, match="trial 1 .*failed with exit code 137") as caught:
            mbert_sweep("-q")
        assert caught.value.exit_code == 137
        assert starts(search) == {"trial-1-seed-1": times}


def test_more_trials_continue_a_search_and_other_ranges_are_rejected(done):
    (done / "plan.yaml").write_text(SEARCH.replace(f"trials: {TRIALS}", f"trials: {TRIALS + 1}"))
    mbert_sweep("-q")
    assert starts(done) == {f"trial-{number}-seed-1": 1 for number in range(1, TRIALS + 2)}
    (done / "plan.yaml").write_text(SEARCH.replace("uniform: [0, 0.3]", "uniform: [0, 0.2]"))
    with pytest.raises(UsageError) as caught:
        mbert_sweep("-q")
    problem, remedy = caught.value.problems
    assert problem.startswith("out/runs/trial-1-seed-1: training.weight_decay was 0.0")
    assert "--force" in remedy


def test_max_time_ends_a_search(search):
    """A trial of the stand-in takes 31 seconds an epoch."""
    (search / "plan.yaml").write_text(SEARCH.replace(f"trials: {TRIALS}", "max_time: 4min"))
    for _ in range(2):
        mbert_sweep("-q")
        assert set(starts(search).values()) == {1}
        assert len(rows(search)) == 3  # 279 seconds are more than 4 minutes; 186 are not


def test_the_page_and_markdown_have_the_importance_and_the_best_trial(done):
    for name in ("table.html", "table.md"):
        text = (done / "out" / name).read_text()
        for message in ("pruned 1/3", "Best: trial ", "Train it again: mbert train ", "fANOVA"):
            assert message in text, (name, message)


def test_dry_run_lists_the_first_trial_and_writes_nothing(search, capsys):
    mbert_sweep("--dry-run")
    out, err = capsys.readouterr()
    assert "trial-1-seed-1" in out
    assert (
        err == f"a search of at most {TRIALS} trials: more trials follow, and depend on the scores of the first ones.\n"
    )
    assert not (search / "out").exists()


def test_a_missing_package_is_reported_before_anything_runs(search, monkeypatch):
    monkeypatch.setattr("mbert_cli.sweeps.trials.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs Optuna; install it: pip install 'mbert-cli\[search\]'"):
        mbert_sweep()
    assert not (search / "out").exists()


def test_validate_checks_a_plan(search, capsys):
    app(["validate", "plan.yaml"], standalone_mode=False)
    message = f"no problems found; a search over 2 ranges, at most {TRIALS} trials; `mbert sweep plan.yaml --dry-run` "
    assert capsys.readouterr().out.startswith(message)
    with pytest.raises(UsageError, match="plan.yaml is a plan, but 'training.epochs=1' changes a recipe"):
        app(["validate", "plan.yaml", "training.epochs=1"], standalone_mode=False)
    (search / "plan.yaml").write_text("rows:\n  - {name: a, recipe: recipe.yaml, seeds: [1, 2]}\n")
    app(["validate", "plan.yaml"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("no problems found; 1 row with 2 runs; ")


def test_medians_need_five_trials():
    trials = [{1: score, 2: score + 1} for score in (0.1, 0.5, 0.2, 0.4)]
    assert medians(trials) == {}
    assert medians([*trials, {1: 0.3}]) == {1: 0.3, 2: pytest.approx(1.3)}
