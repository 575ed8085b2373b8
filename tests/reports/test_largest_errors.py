import csv
import json
from pathlib import Path

import pytest

from mbert_cli.cli import app
from mbert_cli.recipe.sections import Component, TaskSection
from mbert_cli.reports.largest_errors import TopError, top_errors, with_texts


@pytest.fixture
def evaluation(tmp_path):
    (tmp_path / "mood_predictions.tsv").write_text(
        "line\tlabel\tpred\tp_low\tp_high\n2\tlow\tlow\t.9\t.1\n3\tlow\thigh\t.3\t.7\n4\thigh\tlow\t.95\t.05\n"
    )
    (tmp_path / "same_predictions.tsv").write_text("line\tlabel\tpred\tscore\n2\t0\t1\t.8\n3\t1\t0\t.1\n4\t1\t1\t.9\n")
    (tmp_path / "near_predictions.tsv").write_text("line\tlabel\tpred\tscore\n2\t5\t4.5\t.9\n3\t0\t3.25\t.65\n")
    return tmp_path


def test_the_most_confident_errors_of_a_classification_are_first(evaluation):
    assert top_errors(evaluation, "mood", ["low", "high"], 5) == [
        TopError(4, "high", "low", 0.95), TopError(3, "low", "high", 0.7),
    ]  # fmt: skip
    assert len(top_errors(evaluation, "mood", ["low", "high"], 1)) == 1


def test_with_a_single_score_the_probability_of_the_first_class_is_one_minus_the_score(evaluation):
    assert [(each.line, each.size) for each in top_errors(evaluation, "same", ["0", "1"], 5)] == [(3, 0.9), (2, 0.8)]


def test_errors_of_a_regression_are_sorted_by_distance(evaluation):
    assert [(each.line, each.size) for each in top_errors(evaluation, "near", None, 5)] == [(3, 3.25), (2, 0.5)]


@pytest.fixture
def task():
    return TaskSection(
        train="t", dev="d", text=["one", "two"], label="mood", head=Component(kind="classification", options={})
    )


def test_texts_are_found_by_their_lines(tmp_path, task):
    path = tmp_path / "dev.csv"
    path.write_text('one,two,mood\n"a\nb",c,1.0\nd,e,2\n')
    errors = [TopError(2, "1", "x", 0.5), TopError(4, "2", "x", 0.4)]
    assert [each.texts for each in with_texts(errors, str(path), task)] == [("a\nb", "c"), ("d", "e")]


@pytest.mark.parametrize("content", [None, "one,two,mood\na,b,other\n", "one,mood\na,1\n", "one,two,mood\n"])
def test_errors_have_no_texts_if_the_file_is_missing_or_has_changed(tmp_path, task, content):
    path = tmp_path / "dev.csv"
    if content is not None:
        path.write_text(content)
    errors = [TopError(2, "1", "x", 0.5)]
    assert with_texts(errors, str(path), task) == errors


def test_a_file_that_has_changed_in_one_row_gives_no_texts(tmp_path, task):
    path = tmp_path / "dev.csv"
    path.write_text("one,two,mood\na,b,1\nc,d,other\n")
    errors = [TopError(2, "1", "x", 0.5), TopError(3, "2", "x", 0.4)]
    assert with_texts(errors, str(path), task) == errors


def test_evaluate_prints_and_writes_the_largest_errors(tiny_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    app(["train", str(tiny_recipe), "-o", "run", "-q", "training.epochs=1"], standalone_mode=False)
    capsys.readouterr()
    app(["evaluate", "run", "--top-errors", "2", "-o", "out", "-q"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "Largest errors of mood" in shown
    assert "Largest errors of near" in shown
    assert ("probability" in shown, "distance" in shown, " size " in shown) == (True, True, False)
    app(["evaluate", "run", "--top-errors", "2", "-q", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)["top_errors"]
    assert [len(own) for own in found.values()] == [2, 2, 2]
    with (tmp_path / "out" / "near_errors.tsv").open(newline="") as file:
        written = list(csv.DictReader(file, delimiter="\t"))
    assert [float(row["distance"]) for row in written] == pytest.approx([each["size"] for each in found["near"]])
    assert [(int(row["line"]), row["text1"], row["text2"]) for row in written] == [
        (each["line"], *each["texts"]) for each in found["near"]
    ]
    lines = Path(str(tiny_recipe)).read_text()
    assert found["near"][0]["texts"][0] in (Path(json.loads(lines)["tasks"]["near"]["dev"])).read_text()
