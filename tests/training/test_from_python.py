"""`from mbert_cli import train`: training from Python programs, on files and on data frames."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from tiny_runs import train as train_on_files

from mbert_cli import Predictor, train
from mbert_cli.data.examples import read_examples
from mbert_cli.errors import DataError, RecipeError, UsageError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import task_labels
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.data_frames import saved

HARDWARE = {"device": "cpu", "precision": "fp32"}


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def frames_of(recipe):
    """Return the recipe without files, and its data: columns, a data frame of pandas, and rows."""
    values = json.loads(Path(recipe).read_text())
    data = {
        name: {split: rows_of(task.pop(split)) for split in ("train", "dev")} for name, task in values["tasks"].items()
    }
    data["mood"] = {split: {key: [row[key] for row in rows] for key in rows[0]} for split, rows in data["mood"].items()}
    for split, rows in data["same"].items():
        data["same"][split] = pd.DataFrame(rows).assign(same=lambda frame: frame["same"].astype(float).astype(int))
    for rows in data["near"].values():
        for row in rows:
            row["near"] = np.float64(row["near"])
    return values, data


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("python")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    values, data = frames_of(recipe)
    values["training"]["epochs"] = 1
    return train(values, folder / "run", data=data, **HARDWARE), recipe


def test_data_frames_train_the_same_model_as_files(run, tmp_path):
    own, recipe = run
    (tmp_path / "run").mkdir()
    kept = train_on_files(recipe, tmp_path / "run", "training.epochs=1")
    assert own.kept.scores() == kept.scores()
    assert own.overall == kept.overall
    assert own.scores["near"]["pearson"] == kept.tasks["near"]["pearson"]
    weights = [path / "model" / "tasks" / "mood.safetensors" for path in (own.path, tmp_path / "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_run_is_one_for_all_commands_and_has_a_predictor(run):
    own, _ = run
    assert repr(own) == f"TrainedRun({str(own.path)!r}, overall={own.overall:.3f})"
    predictor = own.predictor()
    assert isinstance(predictor, Predictor)
    assert predictor.hardware.precision == "fp32"
    assert len(predictor(["a cat"], task="mood")["pred"]) == 1
    recipe = load_recipe(str(own.path / "recipe.yaml"))
    assert {Path(getattr(task, split)).parent for task in recipe.tasks.values() for split in ("train", "dev")} == {
        own.path / "data_frames"
    }
    lines = (own.path / "evaluation" / "mood_predictions.tsv").read_text().splitlines()[1:]
    assert [int(line.split("\t")[0]) for line in lines] == list(range(1, 10))


def test_a_recipe_object_with_settings_resumes_the_run(run):
    own, _ = run
    recipe = load_recipe(str(own.path / "recipe.yaml"))
    again = train(recipe, own.path, settings=["training.epochs=1"], resume=True, **HARDWARE)
    assert again.scores == own.scores
    with pytest.raises(UsageError, match="exists and contains a run"):
        train(recipe, own.path, **HARDWARE)


def mood_of(tiny_recipe, **change):
    values, data = frames_of(tiny_recipe)
    data = {"mood": data["mood"]}
    values["tasks"] = {"mood": values["tasks"]["mood"] | change}
    values["training"]["epochs"] = 1
    return values, data


def test_values_of_data_frames_are_read_as_those_of_files(tiny_recipe, tmp_path):
    head = {"kind": "multi_label", "labels": ["a", "b"], "delimiter": "|"}
    values, _ = mood_of(tiny_recipe, head=head, text="words", columns={"words": "sentence"}, train="x", dev="x")
    (tmp_path / "r.yaml").write_text(json.dumps(values))
    recipe = load_recipe(str(tmp_path / "r.yaml"))
    frame = {"sentence": ["é", "line\nend", "a\u2028b"], "mood": [["a", "b"], ("b",), []], "other": [object()] * 3}
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with saved(recipe, {"mood": {"train": frame}}, folder) as own:
        task = own.tasks["mood"]
        examples = read_examples(task.train, "mood", task, task_labels(own.tasks)["mood"])
        assert examples.texts == [frame["sentence"]]
        assert examples.labels == [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)]
        assert "other" not in Path(task.train).read_text()
    assert not folder.data_frames.exists(), "no recipe uses the file"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"text": ["a", None, "c"]},
            r"^data\['mood'\]\['train'\]: row 1: 'text' must be a text, but is null; correct the row",
        ),
        (
            {"mood": ["low", "mid", "hgih"]},
            r"^data\['mood'\]\['train'\]: row 2: mood must be one of .*, but is 'hgih'; correct",
        ),
        ({"mood": ["low", "x", "x"]}, r"row 1: mood must be one of .*, in 2 rows \(rows 1, 2\)"),
        ({"mood": ["low", float("nan"), "mid"]}, r"row 1: mood is empty"),
        ({"mood": ["low", "mid"]}, r"the columns have different lengths: text 3, mood 2\.$"),
        ({"mood": [{"a": 1}] * 3}, r"row 0: mood must be a text or a number, but is {'a': 1}\.$"),
        ({"mood": None}, r"has no column 'mood' of task mood; did you mean 'moods'\?"),
        ({"text": []} | {"mood": []}, r"data\['mood'\]\['train'\]: has no rows\.$"),
    ],
)
def test_errors_name_the_data_frame_and_the_row(tiny_recipe, tmp_path, change, message):
    values, data = mood_of(tiny_recipe)
    frame = {"text": ["a", "b", "c"], "mood": ["low", "mid", "high"], "moods": None} | change
    data["mood"]["train"] = {name: column for name, column in frame.items() if column is not None}
    if change == {"mood": None}:
        data["mood"]["train"]["moods"] = ["x"] * 3
    with pytest.raises(DataError, match=message):
        train(values, tmp_path / "run", data=data, **HARDWARE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"output": None}, UsageError, "a recipe without a file needs a run folder"),
        ({"data": {"moo": {}}}, UsageError, "data: 'moo' is not a task of the recipe; did you mean 'mood'"),
        ({"data": {"mood": {"valid": {}}}}, UsageError, "'valid' is not a split. Known: dev, test, train"),
        ({"data": {"mood": [1]}}, UsageError, r"must map train and dev to data frames, but is \[1\]"),
        ({"data": {"mood": {"train": 5, "dev": 5}}}, DataError, "must be a data frame, .* but is 5"),
        ({"data": None}, RecipeError, "the recipe: tasks.mood.train is missing"),
        ({"settings": ["trainig.epochs=1"]}, RecipeError, "'trainig.epochs=1': trainig .*did you mean 'training'"),
        ({"resume": True, "force": True}, UsageError, "cannot be used together"),
        ({"recipe": "nowhere.yaml"}, RecipeError, "nowhere.yaml: there is no such recipe file"),
        ({"settings": ["training.epochs=x"]}, RecipeError, "'training.epochs=x': training.epochs must be"),
    ],
)
def test_mistakes_are_reported_before_anything_is_written(tiny_recipe, tmp_path, monkeypatch, change, error, message):
    values, data = mood_of(tiny_recipe)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(error, match=message):
        train(**{"recipe": values, "output": "run", "data": data} | change)
    assert not list(Path().iterdir())


def test_a_refused_run_leaves_the_run_that_it_would_replace(run, tiny_recipe, capsys):
    own, _ = run
    before = {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()}
    values, data = mood_of(tiny_recipe)
    data["mood"]["dev"]["mood"][0] = "unknown"
    with pytest.raises(DataError, match=r"data\['mood'\]\['dev'\]: row 0: mood must be"):
        train(values, own.path, data=data, force=True, **HARDWARE)
    assert {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()} == before
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_saves_progress_and_is_a_keyboard_interrupt(tiny_recipe, tmp_path, monkeypatch):
    from mbert_cli.training.step import OptimizerStep

    handler, step, thread = signal.getsignal(signal.SIGINT), OptimizerStep.__call__, threading.get_native_id()

    def interrupted(self, rows):
        assert threading.get_native_id() == thread
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, rows)

    values, data = mood_of(tiny_recipe)
    monkeypatch.setattr(OptimizerStep, "__call__", interrupted)
    with pytest.raises(
        KeyboardInterrupt, match="run: stopped; .*, saved. To continue, repeat the command with --resume."
    ):
        train(values, tmp_path / "run", data=data, **HARDWARE)
    assert signal.getsignal(signal.SIGINT) == handler
    assert RunFolder(tmp_path / "run").newest_state()[0] is not None
    monkeypatch.undo()
    # In another thread, signals are not handled, and training works.
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train(values, tmp_path / "run", data=data, resume=True, **HARDWARE))
    )
    thread.start()
    thread.join()
    assert results[0].overall == results[0].scores["mood"]["accuracy"]


def test_a_notebook_has_a_bar(tiny_recipe, tmp_path, monkeypatch, capsys):
    """A stand-in for IPython, which is not installed with mbert."""
    shown = []

    class Display:
        update = staticmethod(lambda html: shown.append(html))

    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    display.HTML = str
    display.display = lambda html, display_id: shown.append(html) or Display()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr("mbert_cli.training.from_python.is_notebook", lambda: True)
    values, data = mood_of(tiny_recipe)
    train(values, tmp_path / "run", data=data, **HARDWARE)
    assert capsys.readouterr() == ("", "")
    assert shown[-1].startswith('<progress value="3" max="3"></progress> epoch 1/1')
    assert "mood 1." in shown[-1]
    monkeypatch.setattr("mbert_cli.training.from_python.is_notebook", lambda: False)
    number = len(shown)
    train(values, tmp_path / "run", data=data, force=True, progress=True, **HARDWARE)
    assert "epoch 1/1: train loss mood" in capsys.readouterr().err
    assert len(shown) == number


def test_importing_the_package_is_fast_and_offers_train():
    code = "import sys, mbert_cli; print(mbert_cli.__all__, {'torch', 'numpy', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['Predictor', '__version__', 'add_task', 'train'] set()\n", "")
