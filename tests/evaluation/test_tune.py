"""Thresholds and temperatures that are fitted to the dev files of a run with tiny tasks."""

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from crashes import contents, crashes, dying_after
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score
from tiny_runs import QUIET, options
from typer.testing import CliRunner

from mbert_cli import cli
from mbert_cli.calibration import Decision
from mbert_cli.data.table import Table
from mbert_cli.errors import CheckpointError, DataError, MbertError, NotFiniteError, RunInUseError, UsageError
from mbert_cli.evaluation.options import EvaluationFiles, Fitting
from mbert_cli.evaluation.run_outcomes import run_outcomes
from mbert_cli.evaluation.tune import check_fits, threshold_hint, tune
from mbert_cli.model.components import load_recipe
from mbert_cli.model.decisions import write_decisions
from mbert_cli.model.saved_model import read_model
from mbert_cli.prediction.fingerprint import fingerprint_of
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.storage.atomic import amend_folder, check_folder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked, model_locked
from mbert_cli.training.fit import fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run with class weights, because the classes of the tiny tasks are unbalanced."""
    folder = tmp_path_factory.mktemp("tuning")
    checkpoint, files = tiny.write_checkpoint(folder / "checkpoint"), tiny.write_files(folder)
    recipe = json.loads(tiny.write_recipe(folder / "recipe.yaml", checkpoint, files).read_text())
    recipe["tasks"]["mood"]["head"]["class_weights"] = "balanced"
    recipe["tasks"]["same"]["head"]["positive_weight"] = "balanced"
    recipe["tasks"]["is_high"] = {
        **recipe["tasks"]["mood"],
        **{split: str(binary(files / f"mood-{split}.tsv")) for split in ("train", "dev")},
        "head": {"kind": "classification", "labels": ["other", "high"]},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    (folder / "run").mkdir()
    settings = ["training.epochs=1", "training.head_learning_rate=0.03", "training.select=near.loss"]
    fit(load_recipe(str(folder / "recipe.yaml"), settings), RunFolder(folder / "run"), options())
    return folder / "run"


def binary(path: Path) -> Path:
    """Write a file with the moods low and mid merged into one class; return its path."""
    new = path.with_name(path.name.replace("mood", "is_high"))
    text = path.read_text()
    new.write_text(text.replace("\tlow\n", "\tother\n").replace("\tmid\n", "\tother\n"))
    return new


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the run that a test can change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def predictor_of(run: Path) -> Predictor:
    return Predictor(run, device="cpu", precision="fp32")


def tuned(run: Path, criterion=None, calibrate=False, tasks=()):
    """Fit and save as the command does; return the changes."""
    with model_locked(run) as folder:
        predictor = predictor_of(run)
        fitting = Fitting(criterion, calibrate)
        check_fits(predictor, tasks, fitting)
        found = tune(run_outcomes(predictor, EvaluationFiles(tasks=tasks), QUIET), fitting, QUIET)
        write_decisions(folder, predictor.saved.model)
    return found


def dev_of(run: Path, task: str) -> tuple[dict[str, list[str]], np.ndarray]:
    """The columns of a task's dev file, and its labels as 0 and 1."""
    section = predictor_of(run).saved.task(task)
    with Path(section.dev).open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    labels = [row[section.label] in ("1.0", "high") for row in rows]
    return {name: [row[name] for row in rows] for name in section.text}, np.array(labels)


@pytest.mark.parametrize(("task", "average", "column"), [("same", "binary", "score"), ("is_high", "macro", "p_high")])
def test_predictions_use_the_saved_threshold_and_it_is_the_best_one(run, task, average, column):
    columns, labels = dev_of(run, task)
    before = predictor_of(run)(columns, task)
    scores = np.array(before[column])
    every = [f1_score(labels, scores > cut, average=average, zero_division=0) for cut in (-1, *scores)]
    found = tuned(run, "f1", tasks=[task])[task]
    assert found["after"]["f1"] == pytest.approx(max(every))
    assert found["before"]["f1"] == pytest.approx(f1_score(labels, scores > 0.5, average=average, zero_division=0))
    again = predictor_of(run)
    after = again(columns, task)
    yes = again.saved.model.head(task).labels.names[1]
    predicted = np.array([each == yes for each in after["pred"]])
    assert after[column] == before[column]
    assert predicted.tolist() == [score > found["after"]["threshold"] for score in after[column]]
    assert f1_score(labels, predicted, average=average, zero_division=0) == pytest.approx(max(every))
    evaluated = run_outcomes(again, EvaluationFiles(tasks=[task]), QUIET).evaluation()
    metrics = evaluated.metrics["tasks"][task]
    assert metrics["f1"] == pytest.approx(max(every))
    assert metrics["decision"]["threshold"] == found["after"]["threshold"]
    assert np.sum(metrics["confusion"], axis=0).tolist() == [(~predicted).sum(), predicted.sum()]
    (written,) = evaluated.predictions[task]
    assert written.columns == after


def test_precision_and_recall_are_reported_before_and_after(run):
    columns, labels = dev_of(run, "same")
    found = tuned(run, "balanced", tasks=["same"])["same"]
    scores = np.array(predictor_of(run)(columns, "same")["score"])
    for turn in ("before", "after"):
        predicted = scores > found[turn]["threshold"]
        assert found[turn]["precision"] == pytest.approx(precision_score(labels, predicted, zero_division=0))
        assert found[turn]["recall"] == pytest.approx(recall_score(labels, predicted, zero_division=0))


def test_calibration_lowers_the_log_likelihood_and_changes_no_prediction(run):
    threshold = tuned(run, "f1")
    before = {task: predictor_of(run)(dev_of(run, task)[0], task)["pred"] for task in threshold}
    found = tuned(run, calibrate=True)
    assert list(found) == ["mood", "same", "is_high"]
    for turns in found.values():
        assert turns["after"]["nll"] <= turns["before"]["nll"]
        assert turns["before"]["temperature"] == 1
    assert any(turns["after"]["temperature"] != 1 for turns in found.values())
    for task, pred in before.items():
        assert predictor_of(run)(dev_of(run, task)[0], task)["pred"] == pred
        assert {name: found[task]["after"][name] for name in ("f1", "accuracy")} == {
            name: threshold[task]["after"][name] for name in ("f1", "accuracy")
        }


def test_fitting_again_changes_nothing_in_the_folder(run):
    tuned(run, "f1", calibrate=True)
    before = {path: path.read_bytes() for path in (run / "model").rglob("*") if path.is_file()}
    again = tuned(run, "f1", calibrate=True)
    assert all(turns["before"] == turns["after"] for turns in again.values())
    assert {path: path.read_bytes() for path in (run / "model").rglob("*") if path.is_file()} == before


def test_without_a_fit_the_threshold_is_one_half(run):
    model = predictor_of(run).saved.model
    assert not list((run / "model").glob("decisions*"))
    assert {model.head(name).decision for name in ("mood", "same", "is_high")} == {Decision()}


def test_a_model_that_was_moved_out_of_its_run_can_be_fitted(run, tmp_path):
    moved = Path(shutil.move(run / "model", tmp_path / "moved"))
    found = tuned(moved, "f1")
    assert predictor_of(moved).saved.model.head("same").decision.threshold == found["same"]["after"]["threshold"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["moved", "run"]
    assert not (moved / ".lock").exists()


def test_after_a_fit_the_model_has_another_fingerprint(run, tmp_path):
    (tmp_path / "in.tsv").write_text("one\ttwo\na cat\ta dog\n")
    origins = []
    for criterion in ("f1", "accuracy"):
        with Table(str(tmp_path / "in.tsv")) as table:
            origins.append(fingerprint_of(predictor_of(run), table, ["same"], "same", None))
        tuned(run, criterion)
    assert {name for name in origins[0] if origins[0][name] != origins[1][name]} == {"model"}


def test_after_a_crash_while_saving_the_model_has_the_old_or_the_new_values(run, tmp_path):
    tuned(run, "f1", calibrate=True)
    changed = predictor_of(run).saved.model
    before = changed.head("same").decision
    after = changed.head("same").decision = before.model_copy(update={"cut": before.cut + 1})
    found = []
    for here in crashes(
        tmp_path,
        lambda here: shutil.copytree(run / "model", here / "model"),
        lambda here: write_decisions(here / "model", changed),
    ):
        check_folder(here / "model")
        found.append(read_model(here / "model").model.head("same").decision)
    assert [each for each in found if each not in (before, after)] == []
    assert before in found
    assert after in found


def test_a_resumed_run_keeps_the_fit_until_there_is_a_new_best_model(run):
    tuned(run, "f1")
    kept = predictor_of(run).saved.sha256
    for epochs, same in ((1, True), (2, False)):
        recipe = load_recipe(str(run / "recipe.yaml"), [f"training.epochs={epochs}"])
        with locked(RunFolder(run), resume=True):
            best = fit(recipe, RunFolder(run), options(resume=True, allow_drift=True))
        assert best.epoch == epochs
        assert (predictor_of(run).saved.sha256 == kept) == same
    assert predictor_of(run).saved.model.head("same").decision == Decision()


def test_class_weights_from_the_training_data_are_saved_with_the_model(run, trained):
    best = json.loads((run / "model" / "config.json").read_text())["scores"]
    predictor = predictor_of(run)
    found = run_outcomes(predictor, EvaluationFiles(), QUIET).evaluation().metrics
    for task in ("mood", "same"):
        assert found["tasks"][task]["loss"] == pytest.approx(best["tasks"][task]["loss"], abs=1e-6)
    with Path(predictor.saved.task("mood").train).open(newline="") as file:
        moods = [row["mood"] for row in csv.DictReader(file, delimiter="\t")]
    expected = [len(moods) / (3 * moods.count(name)) for name in ("low", "mid", "high")]
    assert predictor.saved.model.head("mood").class_weights.tolist() == pytest.approx(expected)


def test_a_run_with_balanced_class_weights_resumes_to_the_same_bytes(trained, tmp_path):
    recipe = load_recipe(str(trained.parent / "recipe.yaml"), ["training.epochs=1", "training.state_every=1"])
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    fit(recipe, RunFolder(tmp_path / "whole"), options())
    with dying_after(0, 2):
        fit(recipe, RunFolder(tmp_path / "resumed"), options())
    fit(recipe, RunFolder(tmp_path / "resumed"), options(resume=True))
    whole, resumed = contents(tmp_path / "whole"), contents(tmp_path / "resumed")
    assert whole == resumed


def test_a_run_in_use_is_not_fitted(run):
    with locked(RunFolder(run), resume=True), pytest.raises(RunInUseError) as error:
        tuned(run, "f1")
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("tasks", "criterion", "calibrate", "message"),
    [
        (
            ["near"],
            "f1",
            False,
            "--tune-thresholds: a threshold separates two classes, but none of these tasks has",
        ),
        (["mood", "near"], "f1", True, "but none of these tasks has two classes: mood, near."),
        (
            ["near"],
            None,
            True,
            "--calibrate: a temperature needs probabilities of classes, but none of these",
        ),
        (["nea"], "f1", False, "the model has no task 'nea'; did you mean 'near'?"),
    ],
)
def test_a_fit_without_suitable_tasks_is_refused(trained, tasks, criterion, calibrate, message):
    with pytest.raises(MbertError) as error:
        check_fits(predictor_of(trained), tasks, Fitting(criterion, calibrate))
    assert message in str(error.value)


def test_a_dev_file_with_one_class_is_refused(trained, tmp_path):
    predictor = predictor_of(trained)
    text = Path(predictor.saved.task("same").dev).read_text()
    (tmp_path / "ones.tsv").write_text(text.replace("\t0.0\n", "\t1.0\n"))
    outcomes = run_outcomes(predictor, EvaluationFiles(others={"same": str(tmp_path / "ones.tsv")}), QUIET)
    for criterion, calibrate in (("f1", False), (None, True)):
        with pytest.raises(
            DataError, match=r"ones\.tsv: all rows of task same have the label '1', but a fit needs different labels"
        ):
            tune(outcomes, Fitting(criterion, calibrate), QUIET)


def test_outputs_that_are_not_finite_can_be_evaluated_but_not_fitted(trained):
    predictor = predictor_of(trained)
    outcomes = run_outcomes(predictor, EvaluationFiles(tasks=["same"]), QUIET)
    outcomes.tasks["same"].outputs[0] = math.nan
    assert "same" in outcomes.evaluation().metrics["tasks"]
    with pytest.raises(NotFiniteError, match=r"same-dev\.tsv: not all outputs of task same are finite"):
        tune(outcomes, Fitting("f1", True), QUIET)
    assert predictor.saved.model.head("same").decision == Decision()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"other": {}}, "has values for task 'other', but the model has no classification task of that name"),
        ({"near": {"cut": 1.0}}, "has values for task 'near', but the model has no classification task of that name"),
        ({"same": {"cut": "high"}}, "same.cut must be a number, but is 'high'; fit again with mbert evaluate."),
        (
            {"same": {"temperature": 0.0}},
            "same.temperature must be greater than 0, but is 0.0; fit again with mbert evaluate.",
        ),
    ],
)
def test_decisions_of_another_model_are_refused(run, tasks, message):
    amend_folder(run / "model", "decisions", json.dumps({"tasks": tasks}))
    with pytest.raises(CheckpointError, match=r"decisions-[0-9a-f]{8}\.json: ") as error:
        predictor_of(run).saved.model.head("same")
    assert message in str(error.value)


def metrics_of(precision, recall, criterion=None):
    of_labels = {"no": {"precision": 0.5, "recall": 0.5}, "yes": {"precision": precision, "recall": recall}}
    decision = {"criterion": criterion, "threshold": 0.5}
    return {"tasks": {"same": {"labels": ["no", "yes"], "per_class": of_labels, "decision": decision}, "near": {}}}


def test_the_hint_for_different_precision_and_recall_contains_the_command():
    assert threshold_hint(metrics_of(0.752, 0.920), Path("my runs/x")) == (
        "task same, label yes: precision and recall are far apart (0.752, 0.920); to balance them: "
        "mbert evaluate 'my runs/x' --tune-thresholds f1."
    )
    assert threshold_hint(metrics_of(0.92, 0.752), Path("x")) is not None


@given(st.floats(0, 1), st.floats(0, 1))
def test_there_is_no_hint_after_a_fit_or_for_small_differences(precision, recall):
    assert threshold_hint(metrics_of(precision, recall, "f1"), Path("x")) is None
    assert (threshold_hint(metrics_of(precision, recall), Path("x")) is None) == (abs(precision - recall) <= 0.1)


def mbert(*words):
    return CliRunner().invoke(cli.app, list(map(str, words)))


def test_the_command_fits_saves_and_prints_before_and_after(run, tmp_path):
    words = ("evaluate", run, "--tune-thresholds", "f1", "--calibrate", "--precision", "fp32")
    done = mbert(*words, "--json", "-o", tmp_path / "out")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(found["fitted"]) == {"mood", "same", "is_high"}
    assert found["fitted"]["same"]["after"]["f1"] == found["tasks"]["same"]["f1"]
    assert (
        predictor_of(run).saved.model.head("same").decision.threshold
        == found["fitted"]["same"]["after"]["threshold"]
        == found["tasks"]["same"]["decision"]["threshold"]
    )
    table = mbert(*words)
    assert "Fitted on dev" in table.stdout
    assert "before" in table.stdout
    assert "far apart" not in table.stderr


def test_a_fit_can_be_reset_task_by_task(run):
    assert mbert("evaluate", run, "--tune-thresholds", "f1", "--calibrate", "-q").exit_code == 0
    fitted = {name: predictor_of(run).saved.model.head(name).decision for name in ("same", "is_high")}
    assert Decision() not in fitted.values()
    assert mbert("evaluate", run, "--reset", "-t", "same", "-q").exit_code == 0
    model = predictor_of(run).saved.model
    assert model.head("same").decision == Decision()
    assert model.head("is_high").decision == fitted["is_high"]
    assert mbert("evaluate", run, "--reset", "-q").exit_code == 0
    assert predictor_of(run).saved.model.head("is_high").decision == Decision()


def test_the_command_prints_the_hint_unless_quiet_or_json(run):
    metrics = run_outcomes(predictor_of(run), EvaluationFiles(), QUIET).evaluation().metrics
    hint = threshold_hint(metrics, run)
    assert hint is not None
    for words, message in (((), True), (("-q",), False), (("--json",), False)):
        done = mbert("evaluate", run, "--precision", "fp32", *words)
        assert (hint in done.stderr) == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--tune-thresholds", "f1", "--split", "test"),
            "--tune-thresholds: fitting uses dev files only; remove --split test.",
        ),
        (("--tune-thresholds", "f1", "--split", "train"), "fitting uses dev files only; remove --split train."),
        (
            ("--tune-thresholds", "f1", "--calibrate", "--split", "test"),
            "--tune-thresholds and --calibrate: fitting uses dev files only",
        ),
        (("--tune-thresholds", "f1", "--reset"), "--reset and --tune-thresholds cannot be used together."),
    ],
)
def test_only_dev_can_be_fitted_to(tmp_path, words, message):
    done = mbert("evaluate", tmp_path / "nope", *words)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_an_unknown_criterion_is_refused(tmp_path):
    done = mbert("evaluate", tmp_path, "--tune-thresholds", "f2")
    assert done.exit_code == 2
    assert "balanced" in done.stderr


def test_a_report_notes_that_thresholds_were_fitted_after_training(run, tmp_path):
    message = "were fitted afterwards: mbert evaluate"
    before = mbert("report", run, "-o", tmp_path / "before.html")
    assert message not in before.stderr + (tmp_path / "before.html").read_text()
    tuned(run, "f1", tasks=["same"])
    after = mbert("report", run, "-o", tmp_path / "after.html")
    for text in (after.stderr, (tmp_path / "after.html").read_text()):
        assert f"scores are as trained; thresholds or temperatures of same {message}" in text
