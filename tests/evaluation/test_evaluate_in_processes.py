"""`evaluate` in several processes: the results of one process, for every kind of labels and for ensembles."""

import io
import json
import random
import shutil
from contextlib import redirect_stdout

import pytest
import tiny
from commands import mbert_in_ranks
from crashes import contents
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.commands.division import Division
from mbert_cli.errors import UsageError

FLAGS = ("--precision", "fp32", "--device", "cpu")
SMALL = {"mbert_cli.data.examples._WINDOW": 4, "mbert_cli.prediction.run_model.TOKEN_BUDGETS": {"cpu": 24}}
"""Windows of 4 rows, and batches of about 3 sentences."""
HEADS = {
    "grade": {"kind": "regression", "min": 1, "max": 5},
    "topics": {"kind": "multi_label", "labels": ["a", "b"], "delimiter": "|"},
    "often": {"kind": "ordinal", "labels": ["never", "seldom", "always"]},
}


@pytest.fixture(scope="module")
def work(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A folder with an ensemble of two models, which have a task of each kind."""
    folder = tmp_path_factory.mktemp("evaluated")
    path = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    recipe, rng = json.loads(path.read_text()), random.Random(4)
    rows = [
        [text, f"{rng.uniform(1, 5):.1f}", rng.choice(["", "a", "b", "a|b"]), rng.choice(["never", "seldom", "always"])]
        for text in sentences(11, 7)
    ]
    file = folder / "more.tsv"
    file.write_text("\n".join("\t".join(row) for row in [["text", *HEADS], *rows]) + "\n")
    for name, head in HEADS.items():
        recipe["tasks"][name] = {"train": str(file), "dev": str(file), "text": "text", "label": name, "head": head}
    path.write_text(json.dumps(recipe))
    words = ["adapters=[]", "curriculum=simultaneous", "training.members=2", "training.epochs=1"]
    app(["train", str(path), "-o", str(folder / "run"), *words, *FLAGS, "-q"], standalone_mode=False)
    (folder / "other.tsv").write_text("text\tmood\n" + "a cat\tlow\na dog\tmid\na bird\thigh\n" * 3)
    (folder / "bad.tsv").write_text("text\tmood\n" + "a cat\tlow\n" * 6 + "a dog\tbad\n")
    return folder


@pytest.fixture
def here(work, monkeypatch):
    monkeypatch.chdir(work)
    for name, value in SMALL.items():
        monkeypatch.setattr(name, value)
    return work


def evaluate_here(*words):
    with redirect_stdout(io.StringIO()) as out:
        app(["evaluate", *words, *FLAGS, "-q"], standalone_mode=False)
    return out.getvalue()


def evaluate_in_ranks(count, *words, cwd):
    return mbert_in_ranks(count, "evaluate", *words, *FLAGS, cwd=cwd, patches=SMALL)


def test_an_ensemble_has_the_metrics_predictions_and_figures_of_one_process(here, tmp_path):
    tasks = [word for task in ("mood", "same", "near", *HEADS) for word in ("-t", task)]
    words = ["run", *tasks, "--data", "mood=other.tsv", "--top-errors", "2", "--json", "-o"]
    expected = evaluate_here(*words, str(tmp_path / "one"))
    ended = evaluate_in_ranks(3, *words, tmp_path / "several", cwd=here)
    assert [each.returncode for each in ended] == [0, 0, 0], ended[0].stderr
    assert [each.stdout for each in ended] == [expected, "", ""]
    assert f"wrote {tmp_path / 'several'}" in ended[0].stderr
    assert [each.stderr for each in ended[1:]] == ["", ""]
    assert contents(tmp_path / "several") == contents(tmp_path / "one")


def test_thresholds_and_temperatures_are_fitted_as_in_one_process(here, tmp_path, monkeypatch):
    words = ["run", "--tune-thresholds", "f1", "--calibrate"]
    for name in ("one", "several"):
        shutil.copytree(here / "run" / "members" / "1", tmp_path / name / "run")
    monkeypatch.chdir(tmp_path / "one")
    expected = evaluate_here(*words)
    ended = evaluate_in_ranks(2, *words, cwd=tmp_path / "several")
    assert [(each.returncode, each.stdout) for each in ended] == [(0, expected), (0, "")], ended[0].stderr
    fitted = contents(tmp_path / "several" / "run")
    assert fitted == contents(tmp_path / "one" / "run")
    assert fitted != contents(here / "run" / "members" / "1")


def test_a_bad_row_is_reported_once(here):
    ended = evaluate_in_ranks(2, "run", "--data", "mood=bad.tsv", cwd=here)
    assert [each.returncode for each in ended] == [2, 2]
    assert ended[0].stderr.count("bad.tsv:8: mood") == 1
    assert [each.stdout + each.stderr for each in ended[1:]] == [""]


def test_a_stream_is_refused(monkeypatch):
    Division(None, "auto").check_data({"mood": "-"})
    message = r"--data mood=-: several processes cannot read one stream; save it as a file\."
    for division, count in ((Division("2", "auto"), "1"), (Division(None, "auto"), "2")):
        monkeypatch.setenv("WORLD_SIZE", count)
        with pytest.raises(UsageError, match=message):
            division.check_data({"mood": "-"})
