import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from mbert_cli.data.table import Table
from mbert_cli.metrics import classification_metrics, regression_metrics
from mbert_cli.reports.evaluation_folder import (
    Evaluation,
    Predictions,
    data_name,
    read_numbers,
    read_summary,
    write_evaluation,
)

NAMES = ["a\r/b", 'say "so"', "零"]


@pytest.fixture
def evaluation() -> Evaluation:
    """Four rows of a classification with one mistake, and three rows of a regression."""
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    mood = classification_metrics(predicted, labels, NAMES, positive=None)
    near = regression_metrics(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0]))
    scores = {f"p_{name}": [0.25, 0.5, 1 / 3, 0.0] for name in NAMES}
    return Evaluation(
        {"tasks": {"mood": {"examples": 4, **mood}, "near": {"examples": 3, **near}}, "overall": 0.75},
        {
            "mood": [
                Predictions([2, 3, 5, 6], [NAMES[i] for i in labels], {"pred": [NAMES[i] for i in predicted], **scores})
            ],
            "near": [
                Predictions([2, 3], [1.0, 3.0], {"pred": [1.0, 2.0], "score": [0.2, 0.4]}),
                Predictions([4], [4.0], {"pred": [4.0], "score": [0.8]}),
            ],
        },
    )


def test_the_files_contain_the_evaluation(evaluation, tmp_path):
    write_evaluation(tmp_path, evaluation.of("dev", {"mood": {"file": "m.tsv"}, "near": {"file": "n.tsv"}}, epoch=3))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.json",
        "mood_confusion.tsv",
        "mood_confusion_shares.tsv",
        "mood_predictions.tsv",
        "near_predictions.tsv",
    ]
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["split"], metrics["epoch"], metrics["overall"]) == ("dev", 3, 0.75)
    assert metrics["tasks"]["mood"]["file"] == "m.tsv"
    assert metrics == read_summary(tmp_path)
    with (tmp_path / "mood_confusion.tsv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    assert header == ["true label", *NAMES]
    assert [row[1:] for row in rows] == [["2", "1", "0"], ["0", "1", "0"], ["0", "0", "0"]]
    assert (tmp_path / "near_predictions.tsv").read_text() == (
        "line\tlabel\tpred\tscore\n2\t1\t1\t0.2\n3\t3\t2\t0.4\n4\t4\t4\t0.8\n"
    )
    assert read_numbers(tmp_path / "near_predictions.tsv", "label", "pred") == [[1, 3, 4], [1, 2, 4]]


def test_rows_of_a_confusion_file_are_true_labels_and_columns_are_predicted_labels(evaluation, tmp_path):
    write_evaluation(tmp_path, evaluation)
    with (tmp_path / "mood_confusion_shares.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows[0] == ["true label", *NAMES]
    assert [row[0] for row in rows[1:]] == NAMES
    assert rows[1][1:] == ["0.666667", "0.333333", "0"]
    assert rows[3][1:] == ["0", "0", "0"]


def test_predictions_are_a_table_that_mbert_can_read(evaluation, tmp_path):
    write_evaluation(tmp_path, evaluation)
    with Table(str(tmp_path / "mood_predictions.tsv")) as table:
        rows = [row.cells for row in table]
    assert table.header == ["line", "label", "pred", *(f"p_{name}" for name in NAMES)]
    assert [row[0] for row in rows] == ["2", "3", "5", "6"]
    assert [row[1:3] for row in rows] == [[NAMES[0], NAMES[0]]] * 2 + [[NAMES[0], NAMES[1]], [NAMES[1], NAMES[1]]]


def test_adding_facts_does_not_change_the_original_evaluation(evaluation):
    added = evaluation.of("dev", {"mood": {"file": "m.tsv"}, "near": {"file": "n.tsv"}}, run="runs/x")
    assert list(added.metrics) == ["split", "run", "tasks", "overall"]
    assert set(evaluation.metrics) == {"tasks", "overall"}
    assert "file" not in evaluation.metrics["tasks"]["mood"]


@pytest.mark.parametrize(
    ("own", "split", "name"),
    [
        ({"file": "a/m.tsv"}, "dev", "dev"),  # as older versions saved it
        ({"file": "a/m.tsv", "split": "test"}, "test", "test"),
        ({"file": "a/m.tsv", "split": "dev"}, None, "dev"),
        ({"file": "a/m.tsv", "split": None, "sha256": "0123456789abcdef" * 4}, None, "m.tsv (sha256 0123456789ab…)"),
        ({"file": "-", "split": None, "sha256": None}, None, "-"),
    ],
)
def test_data_is_named_by_its_split_or_its_file(own, split, name):
    assert data_name({"split": split, "tasks": {"mood": own}}, "mood") == name


def test_a_missing_folder_has_no_metrics(tmp_path):
    assert read_summary(tmp_path / "nowhere") == {}


def test_the_files_are_written_and_drawn_without_torch():
    names = ("evaluation_folder", "figures", "plot_confusion", "plot_curves", "plot_scatter", "plot_scores")
    modules = ", ".join(f"mbert_cli.reports.{name}" for name in names)
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
