"""Labels as texts, and labels in training, metrics, predictions and reports."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbert_cli.cli import app
from mbert_cli.data.label_remarks import list_separator
from mbert_cli.data.label_text import folded, has_decimal_comma, is_date, plain_number
from mbert_cli.data.labels import ClassLabels

ODD = {
    "low": "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645",
    "mid": "\U0001f469\u200d\U0001f52c",
    "high": 'tr\u00e8s\u00a0"bon", a|b',
}


@pytest.mark.parametrize(
    ("text", "same"),
    [(" 1.0 ", "1"), ("1.", "1"), ("-1.00", "-1"), ("01", "01"), ("01.0", "01"), ("007", "007"), ("1E2", "1E2"),
     ("+1", "+1"), ("1.5", "1.5"), ("cafe\u0301", "caf\u00e9"), ("\u0661.0", "\u0661.0")],
)  # fmt: skip
def test_only_whole_numbers_with_decimal_zeros_equal_other_labels(text, same):
    assert folded(text) == same


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1), min_size=2))
def test_each_name_is_its_own_class(names):
    names = list({folded(name): folded(name) for name in names if folded(name)})
    if len(names) > 1:
        labels = ClassLabels(names)
        assert [labels.parse(name) for name in names] == list(range(len(names)))


@pytest.mark.parametrize(
    ("labels", "separator"),
    [
        (["rude|threat", "threat", "rude", "spam|rude"], "|"),
        (["a; b", "b; c", "c", "a"], ";"),
        (["1,2", "2,3", "1", "3,1"], ","),
        (['["rude", "threat"]', '["rude"]'], ","),
        (["N/A", "yes", "no"], None),
        (["yes, I agree", "no, thanks", "maybe"], None),
        (["very good", "good", "very bad", "bad"], None),
        (["0", "1", "2"], None),
        (["ENTAILMENT", "NEUTRAL"], None),
    ],
)
def test_lists_of_labels_are_recognised_by_recurring_parts(labels, separator):
    assert list_separator(labels) == separator


@pytest.mark.parametrize(("text", "is_one"), [("3,7", True), ("1,234", True), ("-1.234,5", True), ("1,2,3", False)])
def test_numbers_with_commas_are_recognised(text, is_one):
    assert has_decimal_comma(text) == is_one


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("3,7", "3.7"), ("1,234", "1.234 or 1234"), ("-1.234,5", "-1234.5"), ("1,234.5", "1234.5"), ("0,125", "0.125"),
        ("1,234,567", "1234567"), ("10%", "10"), ("2,5 %", "2.5"), ("1,2,3", None), ("7", None), ("a%", None),
    ],
)  # fmt: skip
def test_plain_forms_of_numbers_with_commas_or_percent_signs(text, plain):
    assert plain_number(text) == plain


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2024-03-01", True), ("01.03.2024", True), ("3/1/2024", True), ("2024-03-01T10:15:00Z", True),
        ("2024-03-01 10:15:00.5+01:00", True), ("2024/03/01", True), ("1 March 2024", True), ("Mar 1, 2024", True),
        ("2024", False), ("1.5", False), ("1-2", False), ("10.000", False), ("3/4", False), ("level 1", False),
    ],
)  # fmt: skip
def test_dates_are_recognised(text, is_one):
    assert is_date(text) == is_one


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
