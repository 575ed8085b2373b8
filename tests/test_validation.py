import json

import pytest

from mbert_cli.cli import app
from mbert_cli.errors import MbertError, ResourceError, UsageError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words):
    capsys.readouterr()
    app([*map(str, words)], standalone_mode=False)
    return capsys.readouterr()


@pytest.mark.parametrize("words", [["validate"], ["train", "--dry-run"], ["train", "--dry-run", "-o", "there"]])
def test_everything_is_checked_and_nothing_written(tiny_recipe, here, capsys, words):
    before = sorted(here.rglob("*"))
    found = run(capsys, *words, tiny_recipe)
    assert found.out.startswith("nothing is wrong; about ")
    assert "12 steps in " in found.out
    assert "mood: 20 train and 9 dev rows" in found.err
    assert sorted(here.rglob("*")) == before


def test_what_it_would_take_is_told_as_json(tiny_recipe, here, capsys):
    start, estimate = map(json.loads, run(capsys, "validate", tiny_recipe, "--json", "-q").out.splitlines())
    assert start["event"] == "start"
    assert estimate["event"] == "estimate"
    assert estimate["steps"] == 12
    assert 0 < estimate["train_seconds"] < 60
    assert 0 < estimate["dev_seconds"] < 60
    assert estimate["memory"] > 50e6
    assert estimate["disk"] == 4 * (3 * 3 + 2) * start["parameters"]  # keep 2 states and write one; model, written anew


def test_the_estimate_grows_with_the_epochs(tiny_recipe, here, capsys):
    words = ["validate", tiny_recipe, "--json", "-q"]
    short, long = (
        json.loads(run(capsys, *words, f"training.epochs={epochs}").out.splitlines()[1]) for epochs in (2, 200)
    )
    assert long["steps"] == 100 * short["steps"]
    assert long["train_seconds"] > 10 * short["train_seconds"]


def with_file(recipe, files, here, split, change):
    path = here / "changed.tsv"
    path.write_text(change((files / "mood-dev.tsv").read_text()))
    return [recipe, f"tasks.mood.{split}={path}"]


@pytest.mark.parametrize(
    ("split", "change", "said"),
    [
        ("test", lambda text: text.replace("low", "lwo"), "changed.tsv:"),
        ("test", lambda text: text.replace("mood", "mod", 1), "has no column 'mood'"),
        ("dev", lambda text: text.replace("\tlow", "\t"), "mood is empty"),
    ],
)
def test_faults_of_any_split_are_found(tiny_recipe, tiny_files, here, split, change, said):
    with pytest.raises(MbertError) as refusal:
        app(["validate", *map(str, with_file(tiny_recipe, tiny_files, here, split, change))], standalone_mode=False)
    assert said in str(refusal.value)


def test_rows_that_training_and_dev_share_are_told(tiny_recipe, tiny_files, here, capsys):
    shared = (tiny_files / "mood-train.tsv").read_text().splitlines()[:6]
    words = with_file(tiny_recipe, tiny_files, here, "dev", lambda text: "\n".join(shared) + "\n")
    assert "task mood: 5 of 5 dev rows have texts of the training file" in run(capsys, "validate", *words).err


def test_classes_without_a_training_row_are_told(tiny_recipe, tiny_files, here, capsys):
    path = here / "few.tsv"
    path.write_text((tiny_files / "mood-train.tsv").read_text().replace("high", "low"))
    told = run(capsys, "validate", tiny_recipe, f"tasks.mood.train={path}").err
    assert "task mood: the training file has no row of high, which the dev file has." in told


def test_a_disk_that_is_too_small_is_told(tiny_recipe, here, monkeypatch):
    monkeypatch.setattr("mbert_cli.run_folder.shutil.disk_usage", lambda path: type("", (), {"free": 10_000})())
    with pytest.raises(ResourceError):
        app(["validate", str(tiny_recipe)], standalone_mode=False)


def test_a_run_that_is_there_is_no_obstacle_to_a_check(tiny_recipe, here, capsys):
    run(capsys, "train", tiny_recipe, "-o", "there", "-q")
    assert "nothing is wrong" in run(capsys, "train", tiny_recipe, "-o", "there", "--dry-run").out
    with pytest.raises(UsageError):
        app(["train", str(tiny_recipe), "-o", "there"], standalone_mode=False)
