"""`mbert evaluate --data`: results have the name of the file instead of the name of the split."""

import hashlib
import json
import re

import pytest

from mbert_cli.cli import app
from mbert_cli.errors import MbertError

FLAGS = ("--precision", "fp32", "--device", "cpu", "-q")


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("data")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.tsv").write_text("text\tmood\na cat\tlow\na dog\tmid\na bird\thigh\n")
    return hashlib.sha256((tmp_path / "other.tsv").read_bytes()).hexdigest()


def evaluate(run, capsys, *words):
    app(["evaluate", str(run), *words, *FLAGS], standalone_mode=False)
    return capsys.readouterr().out


def test_results_on_another_file_have_its_name_hash_and_number_of_rows(run, other, tmp_path, capsys):
    out = evaluate(run, capsys, "--data", "mood=other.tsv", "-o", "found")
    assert f"Metrics on other.tsv (sha256 {other[:12]}…)" in out
    assert re.search(r"mood\W+3\W", out)
    assert "dev" not in out
    for metrics in (
        json.loads((tmp_path / "found" / "metrics.json").read_text()),
        json.loads(evaluate(run, capsys, "--data", "mood=other.tsv", "--json")),
    ):
        assert metrics["split"] is None
        mood = metrics["tasks"]["mood"]
        assert [mood[key] for key in ("file", "split", "sha256", "examples")] == ["other.tsv", None, other, 3]


@pytest.mark.parametrize("limit", [[], ["--limit", "3"]])
def test_ids_may_be_repeated_and_errors_refer_to_lines(tiny_checkpoint, tiny_files, tmp_path, capsys, limit):
    import tiny

    recipe = tiny.write_recipe(tmp_path / "recipe.yaml", tiny_checkpoint, tiny_files)
    repeated = tmp_path / "repeated.tsv"
    repeated.write_text("row\ttext\tmood\n" + "".join(f"x\ta cat\t{mood}\n" for mood in ("low", "mid", "high")))
    words = [str(recipe), "tasks.mood.id=row", "training.epochs=1"]
    with pytest.raises(MbertError, match="row 'x' is already used at line 2"):
        app(["validate", *words, f"tasks.mood.test={repeated}", "--no-measure"], standalone_mode=False)
    app(["train", *words, "-o", str(tmp_path / "run"), "-q"], standalone_mode=False)
    options = ["-t", "mood", "--data", f"mood={repeated}", "--top-errors", "3", "-o", str(tmp_path / "out"), *limit]
    evaluate(tmp_path / "run", capsys, *options)
    rows = (tmp_path / "out" / "mood_predictions.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == ["2", "3", "4"]
    errors = (tmp_path / "out" / "mood_errors.tsv").read_text().splitlines()[1:]
    assert len({row.split("\t")[0] for row in errors}) == 2


def test_the_figure_has_the_name_of_the_file(run, other, tmp_path, capsys):
    evaluate(run, capsys, "--data", "mood=other.tsv", "-o", "found")
    drawn = re.sub(r"\s+", " ", (tmp_path / "found" / "mood_confusion.svg").read_text())
    assert f"mood on other.tsv (sha256 {other[:12]}…), 3 rows" in drawn


def test_each_task_has_its_own_split_or_file(run, other, capsys):
    words = ("-t", "mood", "-t", "same", "--data", "mood=other.tsv")
    out = evaluate(run, capsys, *words)
    assert f"mood on other.tsv (sha256 {other[:12]}…)\nsame on dev\n" in out
    metrics = json.loads(evaluate(run, capsys, *words, "--json"))
    assert metrics["split"] is None
    assert metrics["tasks"]["same"]["split"] == "dev"
    assert "sha256" not in metrics["tasks"]["same"]


def test_results_on_the_files_of_the_recipe_have_the_name_of_the_split(run, other, capsys):
    metrics = json.loads(evaluate(run, capsys, "--json"))
    assert metrics["split"] == "dev"
    assert {each["split"] for each in metrics["tasks"].values()} == {"dev"}
    assert "Metrics on dev\n" in evaluate(run, capsys)


def test_a_report_shows_the_hash_of_another_file(tmp_path):
    from made_runs import make_run, texts, three

    from mbert_cli.reports.page import report_page
    from mbert_cli.reports.run_report import read_runs

    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)])
    (tmp_path / "a" / "evaluation").mkdir()
    own = {"file": "other.tsv", "split": None, "sha256": "0123456789abcdef" * 4}
    (tmp_path / "a" / "evaluation" / "metrics.json").write_text(json.dumps({"split": None, "tasks": {"sst": own}}))
    assert f"other.tsv, sha256 {own['sha256']}" in texts(report_page(read_runs([tmp_path / "a"])))
