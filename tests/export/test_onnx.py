import json
from itertools import chain

import commands
import numpy as np
import pytest
import tiny
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.model.components import kinds

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnx_user = pytest.importorskip("onnx_user", exc_type=ImportError)

PAIRS = {"train": "same-train.tsv", "dev": "same-dev.tsv", "text": ["one", "two"], "label": "same"}
MOOD = {"train": "mood-train.tsv", "dev": "mood-dev.tsv", "text": "text", "label": "mood"}
NEAR = {"train": "near-train.tsv", "dev": "near-dev.tsv", "text": ["one", "two"], "label": "near"}
MORE_TASKS = {
    "crossed": {**PAIRS, "head": {"kind": "classification", "labels": {"0": "no", "1": "yes"}}},
    "both": {**PAIRS, "head": {"kind": "dual_classification"}},
    "valued": {**NEAR, "head": {"kind": "regression", "scale": 5, "min": -1}},
    "priced": {**NEAR, "head": {"kind": "unbounded_regression"}},
    "ordered": {**MOOD, "head": {"kind": "ordinal", "labels": ["low", "mid", "high"]}},
    "sets": {**PAIRS, "head": {"kind": "multi_label", "labels": ["0", "1"]}},
    "twice": {**NEAR, "head": {"kind": "dual_similarity", "scale": 5, "late_interaction": True}},
}
SHARING = "parallel, in the layers and on top"  # its adapters share weights between layers
CASES = {
    SHARING: (
        [{"kind": "pal", "rank": 4, "heads": 2, "init_std": 0.3}, {"kind": "low_rank", "rank": 4, "init_std": 0.3},
         {"kind": "houlsby", "rank": 4, "init_std": 0.3}, {"kind": "top", "init": "random"}],
        {"kind": "cls", "pooler": True},
        ["mood", "both"],
    ),
    "folded, with a gated prefix": (
        [{"kind": "lora", "rank": 2}, {"kind": "ia3"}, {"kind": "bitfit"}, {"kind": "layer_norm"},
         {"kind": "prefix", "length": 3}],
        {"kind": "mean"},
        ["same", "near"],
    ),
    "a prefix without a gate": (
        [{"kind": "prefix", "length": 3, "gate": "none"}],
        {"kind": "max"},
        ["crossed", "valued", "priced", "ordered", "sets", "twice"],
    ),
}  # fmt: skip
"""Adapters, pooling and tasks of each run. A graph takes seconds to export, so each task is in one run."""


def write_recipe(folder, checkpoint):
    """Write the tiny recipe with the tasks of all cases; return its file and its content."""
    path = tiny.write_recipe(folder / "recipe.yaml", checkpoint, folder)
    recipe = json.loads(path.read_text())
    recipe["tasks"] |= MORE_TASKS
    return path, recipe


def mbert(*words, cwd):
    """Run a command in a separate process: the type checks of the tests would disturb the tracing of the exporter."""
    done = commands.mbert(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr


def test_every_kind_of_head_adapter_and_pooling_is_exported(tmp_path):
    tasks = write_recipe(tmp_path, "not read")[1]["tasks"]
    adapters, poolings, exported = zip(*CASES.values(), strict=True)
    assert sorted(chain(*exported)) == sorted(tasks)
    assert {task["head"]["kind"] for task in tasks.values()} == set(kinds("heads"))
    assert {each["kind"] for each in chain(*adapters)} == set(kinds("adapters"))
    assert {each["kind"] for each in poolings} == set(kinds("pooling"))


@pytest.fixture(scope="module", params=CASES)
def run(request, tiny_checkpoint, tmp_path_factory):
    """A trained run of one case and its export."""
    adapters, pooling, tasks = CASES[request.param]
    folder = tmp_path_factory.mktemp("export")
    tiny.write_files(folder)
    path, recipe = write_recipe(folder, tiny_checkpoint)
    recipe["tasks"]["mood"]["windows"] = {"stride": 4}
    recipe["tasks"] = {name: recipe["tasks"][name] for name in tasks}
    if request.param != SHARING:
        tiny.write_checkpoint(folder / "one-layer", num_hidden_layers=1)
        recipe["encoder"]["checkpoint"] = str(folder / "one-layer")
    recipe |= {"adapters": adapters, "pooling": pooling}
    recipe["training"] |= {"epochs": 1, "learning_rate": 0.02}
    path.write_text(json.dumps(recipe))
    for command in (["train", path, "-o"], ["evaluate", "--calibrate", "--tune-thresholds", "f1"]):
        app([*map(str, command), str(folder / "run"), "-q", "--precision", "fp32"], standalone_mode=False)
    mbert("export", "run", "-o", "exported", cwd=folder)
    return folder


@pytest.mark.filterwarnings("ignore:.* were cut at:UserWarning")
def test_graphs_give_the_predictions_of_the_model(run):
    from mbert_cli import Predictor

    predictor = Predictor(run / "run", precision="fp32", device="cpu")
    firsts, seconds = [*sentences(24, 5), "cat"], [*sentences(24, 6), "dog on a street in small why bird reads a awful"]
    for task in predictor.tasks:
        columns = predictor.saved.task(task).text
        rows = [[text] for text in firsts] if len(columns) == 1 else list(zip(firsts, seconds, strict=True))
        expected = predictor(dict(zip(columns, zip(*rows, strict=True), strict=True)), task)
        found = onnx_user.predict(run / "exported", task, rows)
        described = json.loads((run / "exported" / "config.json").read_text())["tasks"][task]
        if described["output"] == "values":
            assert np.abs(found - np.array(expected["pred"])).max() <= 1e-4
        elif "score" in expected:
            assert np.abs(found[:, 1] - np.array(expected["score"])).max() <= 1e-4
            decided = [described["labels"][int(score > described["threshold"])] for score in found[:, 1]]
            assert decided == list(expected["pred"])
        else:
            if "thresholds" in described:
                names = described["labels"]
                above = found > np.array([described["thresholds"][name] for name in names])
                decided = [",".join(name for name, chosen in zip(names, row, strict=True) if chosen) for row in above]
                assert decided == list(expected["pred"])
            if "prediction" in described:
                sums = (found ** described["temperature"]).cumsum(1)
                decided = [described["labels"][(row < row[-1] / 2).sum()] for row in sums]
                assert decided == list(expected["pred"])
            columns = [expected[f"p_{label}"] for label in described["labels"]]
            assert np.abs(found - np.array(columns).T).max() <= 1e-4
        # The result for one example, without padding, is the same as in a batch with padding.
        assert np.abs(onnx_user.predict(run / "exported", task, rows[-1:])[0] - found[-1]).max() <= 1e-5


def test_an_export_contains_the_length_at_which_texts_are_cut(run):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    limit = json.loads((run / "exported" / "config.json").read_text())["max_length"]
    assert limit == json.loads((run / "run" / "model" / "config.json").read_text())["max_length"] == 16
    described = json.loads((run / "exported" / "config.json").read_text())["tasks"]
    read_in_windows = "mood" in json.loads((run / "recipe.yaml").read_text())["tasks"]
    cut = {task: each["cut"] for task, each in described.items() if "cut" in each}
    assert cut == ({"mood": "texts are cut at 16 tokens; mbert reads them in windows"} if read_in_windows else {})
    for folder in (run / "exported", run / "run" / "model" / "encoder"):
        assert len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode("cat " * 50).ids) == limit
        theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        assert len(theirs("cat " * 50, truncation=True)["input_ids"]) == limit


@pytest.mark.filterwarnings("ignore:.* were cut at:UserWarning")
@pytest.mark.real_weights
def test_graphs_of_a_real_encoder_give_the_predictions_of_the_model(minilm, tmp_path):
    from mbert_cli import Predictor
    from mbert_cli.data.table import Table
    from mbert_cli.recipe.shipped import shipped_folder

    words = ["--limit", "64", "training.epochs=1", "tasks.similarity=null", "tasks.paraphrase=null"]
    mbert("train", "demo", *words, "--precision", "fp32", "-o", "run", "-q", cwd=tmp_path)
    mbert("export", "run", "-o", "exported", cwd=tmp_path)
    predictor = Predictor(tmp_path / "run", precision="fp32", device="cpu")
    with Table(str(shipped_folder() / "demo" / "sentiment-dev.tsv")) as table:
        place = table.column("text")
        texts = [row.cells[place] for row in table][:100]
    expected = predictor({"text": texts}, "sentiment")
    found = onnx_user.predict(tmp_path / "exported", "sentiment", [[text] for text in texts])
    ours = np.array([expected[name] for name in expected if name.startswith("p_")]).T
    assert np.abs(found - ours).max() <= 1e-4
