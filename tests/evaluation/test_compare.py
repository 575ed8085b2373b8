"""`mbert compare` on runs with tiny tasks."""

import csv
import json
import shutil

import pytest
import tiny

from mbert_cli.cli import app
from mbert_cli.errors import UsageError
from mbert_cli.storage.atomic import sha256_of


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tmp_path_factory):
    """Run a, and run b: a copy that predicts the label of each row of mood."""
    folder = tmp_path_factory.mktemp("compare")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny.write_files(folder))
    app(
        ["train", str(recipe), "-o", str(folder / "a"), "training.epochs=1", "-q", "--precision", "fp32"],
        standalone_mode=False,
    )
    shutil.copytree(folder / "a", folder / "b")
    path = folder / "b" / "evaluation" / "mood_predictions.tsv"
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    path.write_text(
        "\n".join("\t".join(row) for row in [header, *([*row[:2], row[1], *row[3:]] for row in rows)]) + "\n"
    )
    return folder


@pytest.fixture(autouse=True)
def few_resamples(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("mbert_cli.reports.bootstrap.RESAMPLES", 200)


def compare(capsys, *words):
    capsys.readouterr()
    app(["compare", *words], standalone_mode=False)
    return capsys.readouterr().out


def test_saved_predictions_are_compared_and_differing_rows_are_written_with_their_texts(folder, capsys):
    found = json.loads(compare(capsys, "a", "b", "--json", "-o", "out"))
    assert found == json.loads((folder / "out" / "comparison.json").read_text())
    metrics = json.loads((folder / "a" / "evaluation" / "metrics.json").read_text())["tasks"]["mood"]
    right = round(metrics["accuracy"] * metrics["examples"])
    mood = found["tasks"]["mood"]
    assert mood["correct"] == {"both": right, "only_a": 0, "only_b": 9 - right, "neither": 0}
    assert mood["metrics"]["accuracy"]["p"] == pytest.approx(2 / 2 ** (9 - right))
    assert found["tasks"]["near"]["differing_rows"] == 0
    with (folder / "out" / "mood_differences.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    lines = (folder / "mood-dev.tsv").read_text().splitlines()
    assert len(rows) == 9 - right
    for row in rows:
        assert [row["text"], row["label"]] == lines[int(row["line"]) - 1].split("\t")[1:]
        assert (row["pred_b"], row["better"]) == (row["label"], "B")
    page = (folder / "out" / "comparison.html").read_text()
    assert "only B in" in page
    assert f'<p dir="auto">{rows[0]["text"]}</p>' in page
    with pytest.raises(UsageError, match="out: exists; replace it with --force"):
        compare(capsys, "a", "b", "-o", "out")


def test_with_another_file_both_runs_predict_it(folder, capsys):
    found = json.loads(compare(capsys, "a", "a/model", "--data", f"mood={folder / 'mood-train.tsv'}", "--json"))
    assert list(found["tasks"]) == ["mood"]
    assert (found["tasks"]["mood"]["rows"], found["tasks"]["mood"]["differing_rows"]) == (20, 0)
    assert found["tasks"]["mood"]["data"].startswith("mood-train.tsv (sha256 ")


def test_a_changed_dev_file_is_refused(folder, tmp_path, capsys):
    own = json.loads((folder / "a" / "evaluation" / "metrics.json").read_text())
    assert own["tasks"]["mood"]["sha256"] == sha256_of(folder / "mood-dev.tsv")
    other = shutil.copytree(folder / "a", tmp_path / "other")
    own["tasks"]["mood"]["sha256"] = "0" * 64
    (other / "evaluation" / "metrics.json").write_text(json.dumps(own))
    with pytest.raises(UsageError, match="task mood: the runs were scored on different files"):
        compare(capsys, "a", str(other))
    assert list(json.loads(compare(capsys, "a", str(other), "-t", "same", "--json"))["tasks"]) == ["same"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "mbert compare: needs two runs, but got 1; mbert report RUN... shows any number."),
        (["a", "b", "a"], "mbert compare: needs two runs, but got 3; mbert report RUN... shows any number."),
        (["a", "b", "--limit", "3"], "--limit needs --data TASK=FILE: saved predictions are compared as they are."),
        (["a", "b", "--data", "mood"], "'mood': must have the form --data TASK=FILE."),
        (["a", "b/model"], "b/model: contains no predictions for dev files; name the files with --data TASK=FILE, for "
         "the tasks mood, same, near."),
    ],
)  # fmt: skip
def test_mistakes_are_reported(words, message, capsys):
    with pytest.raises(UsageError) as error:
        compare(capsys, *words)
    assert str(error.value) == message


def test_a_report_shows_the_intervals_of_a_run(folder, capsys):
    app(["report", "a", "--json", "-o", "report.tsv"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    for task, (low, high) in found["intervals"]["tasks"].items():
        assert low <= found["tasks"][task]["value"] <= high
    assert found["intervals"]["overall"][0] < found["overall"] < found["intervals"]["overall"][1]
    with (folder / "report.tsv").open(newline="") as file:
        run, low, high = csv.DictReader(file, delimiter="\t")
    assert [each["row"] for each in (run, low, high)] == ["run", "low", "high"]
    assert [float(low["mood_accuracy"]), float(high["mood_accuracy"])] == found["intervals"]["tasks"]["mood"]
    app(["report", "a", "-o", "report.html"], standalone_mode=False)
    low, high = found["intervals"]["overall"]
    assert f"<small>{low:.3f} to {high:.3f}</small>" in (folder / "report.html").read_text()


def test_a_report_has_no_intervals_of_another_epoch(folder, tmp_path, capsys):
    """A crash can leave predictions of a newer epoch than the last line of metrics.jsonl."""
    other = shutil.copytree(folder / "a", tmp_path / "other")
    metrics = other / "evaluation" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"epoch": 1', '"epoch": 2'))
    app(["report", str(other), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["intervals"] == {"tasks": {}, "overall": None}
