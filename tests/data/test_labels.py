"""Labels of a task, and labels in training, metrics, predictions and reports."""

import csv
import json

from hypothesis import given
from hypothesis import strategies as st

from mbert_cli.cli import app
from mbert_cli.data.label_text import folded
from mbert_cli.data.labels import ClassLabels

ODD = {
    "low": "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645",
    "mid": "\U0001f469\u200d\U0001f52c",
    "high": 'tr\u00e8s\u00a0"bon", a|b',
}


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1), min_size=2))
def test_each_name_is_its_own_class(names):
    names = list({folded(name): folded(name) for name in names if folded(name)})
    if len(names) > 1:
        labels = ClassLabels(names)
        assert [labels.parse(name) for name in names] == list(range(len(names)))


def mbert(*words):
    app([*map(str, words)], standalone_mode=False)


def test_all_written_files_contain_renamed_and_unusual_labels(tiny_recipe, tiny_files, tmp_path):
    recipe = json.loads(tiny_recipe.read_text())
    recipe["tasks"] = {name: recipe["tasks"][name] for name in ("mood", "same")}
    recipe["tasks"]["mood"]["head"]["labels"] = ODD
    recipe["tasks"]["same"]["head"]["labels"] = {"0": "no", "1": "yes"}
    recipe["training"]["epochs"] = 1
    tiny_recipe.write_text(json.dumps(recipe, ensure_ascii=False), encoding="utf-8")
    run, out = tmp_path / "run", tmp_path / "out.tsv"
    mbert("train", tiny_recipe, "-o", run, "-q", "--precision", "fp32")
    mbert("predict", run, tiny_files / "mood-dev.tsv", "-t", "mood", "-o", out, "-q")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    shown = list(ODD.values())
    assert list(rows[0])[-4:] == ["pred", *(f"p_{label}" for label in shown)]
    assert {row["pred"] for row in rows} <= {*shown}
    evaluated = tmp_path / "evaluated"
    mbert("evaluate", run, "-o", evaluated, "-q")
    metrics = json.loads((evaluated / "metrics.json").read_text())["tasks"]
    assert (metrics["mood"]["labels"], metrics["same"]["labels"]) == (shown, ["no", "yes"])
    with (evaluated / "mood_confusion.tsv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file, delimiter="\t")][1:] == shown
    card = (run / "model" / "README.md").read_text()
    assert all(label.replace("|", "\\|") in card for label in shown)
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["tasks"]["mood"]["head"]["labels"] == ODD

    # The predictions can be used as soft labels of a task with the same names.
    mbert("predict", run, tiny_files / "mood-train.tsv", "-t", "mood", "-o", tmp_path / "soft.tsv", "-q")
    recipe["tasks"]["mood"] |= {"train": str(tmp_path / "soft.tsv"), "soft_labels": 0.5}
    tiny_recipe.write_text(json.dumps(recipe, ensure_ascii=False), encoding="utf-8")
    mbert("validate", tiny_recipe, "--no-measure", "-q")
