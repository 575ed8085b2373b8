"""Runs of tasks with each kind of labels, from training to the report; one run is shared by all tests."""

import json
import random
import shutil

import pytest
from crashes import contents, dying_after
from tiny_runs import train
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.model.components import load_recipe
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.reports.evaluation_folder import read_predictions, read_summary
from mbert_cli.reports.largest_errors import errors_of

TASKS = {
    "price": {"label": "price", "head": {"kind": "unbounded_regression"}},
    "grade": {"label": "grade", "head": {"kind": "regression", "min": 1, "max": 5}},
    "topics": {
        "label": "topics",
        "head": {"kind": "multi_label", "labels": {"c": "cat", "d": "dog"}, "delimiter": "|"},
    },
    "often": {"label": "often", "head": {"kind": "ordinal", "labels": ["never", "seldom", "always"]}},
    "flags": {"label": ["rude", "threat", "kind"], "head": {"kind": "multi_label", "positive_weight": "balanced"}},
}


def write_rows(path, count, seed):
    """Write rows with a label of each kind."""
    rng = random.Random(seed)
    lines = ["id\ttext\tprice\tgrade\ttopics\trude\tthreat\tkind\toften"]
    for i, text in enumerate(sentences(count, seed)):
        numbers = [f"{rng.uniform(1e5, 9e5):.0f}", f"{rng.uniform(1, 5):.2f}"]
        sets = [rng.choice(["", "c", "d", "d|c"]), *(str(rng.randint(0, 1)) for _ in range(3))]
        sets.append(rng.choice(["never", "seldom", "always"]))
        lines.append("\t".join([str(i), text, *numbers, *sets]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_recipe(folder, checkpoint):
    write_rows(folder / "train.tsv", 24, 1)
    write_rows(folder / "dev.tsv", 12, 2)
    tasks = {name: {"train": "train.tsv", "dev": "dev.tsv", "text": "text", **own} for name, own in TASKS.items()}
    recipe = {
        "encoder": {"checkpoint": str(checkpoint)},
        "tasks": tasks,
        "curriculum": {"kind": "simultaneous"},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "max_length": 16},
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tmp_path_factory):
    """The folder of a run that was killed and resumed."""
    folder = tmp_path_factory.mktemp("new_heads")
    recipe = write_recipe(folder, tiny_checkpoint)
    for name in ("whole", "resumed"):
        (folder / name).mkdir()
    train(recipe, folder / "whole", "training.state_every=1")
    with dying_after(1, 1):
        train(recipe, folder / "resumed", "training.state_every=1")
    train(recipe, folder / "resumed", "training.state_every=1", resume=True)
    return folder / "resumed"


def test_a_resumed_run_has_the_bytes_of_an_uninterrupted_one(run):
    assert contents(run) == contents(run.parent / "whole")


def test_predictions_are_those_of_the_evaluation(run, tmp_path):
    app(
        [
            "predict",
            str(run),
            str(run.parent / "dev.tsv"),
            "-o",
            str(tmp_path / "out.tsv"),
            "-q",
            "--precision",
            "fp32",
        ],
        standalone_mode=False,
    )
    predicted = list(read_predictions(tmp_path / "out.tsv"))
    assert len(predicted) == 12
    for task in TASKS:
        evaluated = read_predictions(run / "evaluation" / f"{task}_predictions.tsv")
        assert [row[f"{task}_pred"] for row in predicted] == [row["pred"] for row in evaluated]


def test_the_report_the_card_and_the_figures_have_every_task(run, tmp_path):
    app(["report", str(run), "-o", str(tmp_path / "report.html"), "-q"], standalone_mode=False)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    figures = {path.name for path in (run / "figures").iterdir()}
    for task in TASKS:
        assert task in page
        assert f"| {task} |" in card
        assert any(name.startswith(f"{task}_") for name in figures)


def test_the_parameters_of_every_head_are_counted(run, capsys):
    app(["count-params", str(run.parent / "recipe.yaml"), "--json"], standalone_mode=False)
    parts = json.loads(capsys.readouterr().out)["parts"]
    exact = {part["task"]: part["exact"] for part in parts if part["part"] == "head"}
    assert exact == {
        "price": 17,
        "grade": 17,
        "topics": 34,
        "often": 18,
        "flags": 51,
    }  # 16 features and a bias for each output; often: two thresholds


def test_thresholds_are_fitted_for_each_label(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    words = ["-t", "flags", "--tune-thresholds", "f1", "--calibrate", "--top-errors", "3", "--precision", "fp32", "-q"]
    app(["evaluate", str(copy), *words, "--json"], standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    turns, own = printed["fitted"]["flags"], printed["tasks"]["flags"]
    assert turns["after"]["macro_f1"] >= turns["before"]["macro_f1"]
    assert {*own["decision"]["cuts"]} == {"rude", "threat", "kind"}
    assert own["macro_f1"] == turns["after"]["macro_f1"]
    assert all(error["texts"] and error["label"] != error["predicted"] for error in printed["top_errors"]["flags"])
    app(["evaluate", str(copy), "-t", "flags", "-t", "topics", "--precision", "fp32", "-q"], standalone_mode=False)
    assert "average precision" in capsys.readouterr().out
    app(["evaluate", str(copy), "--reset", "-t", "flags", "-q", "--json", "--precision", "fp32"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["tasks"]["flags"]["decision"]["cuts"] == {}


def test_the_largest_errors_of_sets_have_their_texts(run):
    tasks = load_recipe(str(run / "recipe.yaml")).tasks
    metrics = read_summary(run / "evaluation")
    errors = errors_of(run / "evaluation", metrics, {name: tasks[name] for name in metrics["tasks"]}, 4)
    for name in ("topics", "flags"):
        assert errors[name]
        assert all(error.texts for error in errors[name])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_predictor_gives_sets_and_probabilities(run, precision):
    columns = Predictor(run, precision=precision, device="cpu")({"text": sentences(5, 9)}, "topics")
    assert list(columns) == ["pred", "p_cat", "p_dog"]
    assert {*columns["pred"]} <= {"", "cat", "dog", "cat|dog"}
