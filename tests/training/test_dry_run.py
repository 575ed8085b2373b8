import json
from types import SimpleNamespace

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
def test_everything_is_checked_and_nothing_is_written(tiny_recipe, here, capsys, words):
    before = sorted(here.rglob("*"))
    found = run(capsys, *words, tiny_recipe)
    assert found.out.startswith("no problems found; about ")
    assert "12 steps in " in found.out
    assert "mood: 20 train and 9 dev rows" in found.err
    assert sorted(here.rglob("*")) == before


def test_the_estimate_can_be_printed_as_json(tiny_recipe, here, capsys):
    start, estimate = map(json.loads, run(capsys, "validate", tiny_recipe, "--json", "-q").out.splitlines())
    assert start["event"] == "start"
    assert estimate["event"] == "estimate"
    assert estimate["steps"] == 12
    assert 0 < estimate["train_seconds"] < 60
    assert 0 < estimate["dev_seconds"] < 60
    assert estimate["memory"] > 50e6
    weights = 4 * start["parameters"]
    assert (
        7 * weights < estimate["disk"] <= estimate["disk_at_most"]
    )  # the model, and two states of three times its size
    assert estimate["save_seconds"] > 0


def test_the_estimate_grows_with_the_epochs(tiny_recipe, here, capsys):
    words = ["validate", tiny_recipe, "--json", "-q"]
    short, long = (
        json.loads(run(capsys, *words, f"training.epochs={epochs}").out.splitlines()[1]) for epochs in (2, 200)
    )
    assert long["steps"] == 100 * short["steps"]
    assert long["train_seconds"] > 10 * short["train_seconds"]


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        (["training.epochs=4"], 4),
        (["training.epochs=4", "training.select_after=0.5"], 2),
        (["training.epochs=4", "training.members=3"], 3 * 5),
    ],
)
def test_the_time_for_dev_files_grows_with_the_number_of_scored_epochs(
    tiny_recipe, here, capsys, monkeypatch, settings, times
):
    # Each call of the clock returns one second more.
    monkeypatch.setattr("mbert_cli.training.dry_run.time", SimpleNamespace(monotonic=iter(range(10_000)).__next__))
    words = ["validate", tiny_recipe, "--json", "-q"]
    once, often = (
        json.loads(run(capsys, *words, *chosen).out.splitlines()[1])["dev_seconds"]
        for chosen in (["training.epochs=1"], settings)
    )
    assert often == pytest.approx(times * once)


def with_file(recipe, files, here, split, change):
    path = here / "changed.tsv"
    path.write_text(change((files / "mood-dev.tsv").read_text()))
    return [recipe, f"tasks.mood.{split}={path}"]


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        ("test", lambda text: text.replace("low", "lwo"), "changed.tsv:"),
        ("test", lambda text: text.replace("mood", "mod", 1), "has no column 'mood'"),
        ("dev", lambda text: text.replace("\tlow", "\t"), "mood is empty"),
    ],
)
def test_problems_of_every_split_are_found(tiny_recipe, tiny_files, here, split, change, message):
    with pytest.raises(MbertError) as refusal:
        app(["validate", *map(str, with_file(tiny_recipe, tiny_files, here, split, change))], standalone_mode=False)
    assert message in str(refusal.value)


def test_all_problems_are_reported_together(tiny_recipe, tiny_files, here):
    text = (tiny_files / "mood-train.tsv").read_text()
    (here / "bad.tsv").write_text(text.replace("low", "lwo"))
    (here / "short.tsv").write_text(text.replace("text\tmood", "text\tmod"))
    (here / "all.tsv").write_text("id\tone\ttwo\tsame\n1\tcat\tdog\t7\n")
    (here / "file").write_text("")
    words = ["validate", str(tiny_recipe), "encoder.checkpoint=nowhere", "-o", "file", "-q"]
    words += ["tasks.mood.train=bad.tsv", "tasks.mood.dev=short.tsv", "tasks.same.test=all.tsv", "tasks.near.dev=gone"]
    with pytest.raises(MbertError) as refusal:
        app(words, standalone_mode=False)
    problems = [problem.replace(f"{here}/", "") for problem in refusal.value.problems]
    assert problems[0] == "file is a file; choose another -o."
    assert problems[1].startswith("encoder.checkpoint")
    assert "tasks.near.dev: there is no file gone;" in problems[2]
    remedy = "correct them, or set tasks.mood.on_bad_row=skip."
    bad = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("low")]
    shown = f"lines {', '.join(map(str, bad[:10]))}" + (", ..." if len(bad) > 10 else "")
    assert problems[3:-2] == [
        f"bad.tsv:{bad[0]}: mood must be one of low, mid, high, but is 'lwo', in {len(bad)} rows ({shown}).",
        f"bad.tsv: has {len(bad)} bad rows; {remedy}",
    ]
    assert problems[-2].startswith("short.tsv:1: has no column 'mood'")
    assert problems[-1] == (
        "all.tsv:2: same must be one of 0, 1, but is '7'; correct the row, or set tasks.same.on_bad_row=skip."
    )
    assert refusal.value.exit_code == 2


def test_rows_that_a_recipe_skips_are_no_problem(tiny_recipe, tiny_files, here, capsys):
    words = with_file(tiny_recipe, tiny_files, here, "test", lambda text: text.replace("low", "lwo", 1))
    found = run(capsys, "validate", *words, "tasks.mood.on_bad_row=skip", "--no-measure")
    assert found.out.startswith("no problems found; 12 steps, ")
    assert "mood: 8 test rows, 1 bad row skipped" in found.err


def test_without_measuring_time_and_memory_are_unknown(tiny_recipe, here, capsys):
    _, estimate = map(json.loads, run(capsys, "validate", tiny_recipe, "--json", "-q", "--no-measure").out.splitlines())
    assert (estimate["train_seconds"], estimate["dev_seconds"], estimate["memory"]) == (None, None, None)
    assert estimate["steps"] == 12


def test_details_include_the_format_of_each_file(tiny_recipe, here, capsys):
    assert "mood-train.tsv: TSV; columns id, text, mood\n" in run(capsys, "validate", tiny_recipe, "-v").err


def test_only_the_disk_of_the_run_needs_free_space(tiny_recipe, here, monkeypatch, capsys):
    def free(path):
        return type("", (), {"free": 10**9 if str(path).startswith(str(here)) else 0})()

    monkeypatch.setattr("shutil.disk_usage", free)
    assert "no problems found" in run(capsys, "validate", tiny_recipe, "--no-measure", "-o", here / "new" / "run").out


def test_rows_in_both_training_and_dev_file_are_reported(tiny_recipe, tiny_files, here, capsys):
    shared = (tiny_files / "mood-train.tsv").read_text().splitlines()[:6]
    words = with_file(tiny_recipe, tiny_files, here, "dev", lambda text: "\n".join(shared) + "\n")
    assert "task mood: 5 of 5 dev texts are also in the training file" in run(capsys, "validate", *words).err


def test_classes_without_a_training_row_are_reported(tiny_recipe, tiny_files, here, capsys):
    path = here / "few.tsv"
    path.write_text((tiny_files / "mood-train.tsv").read_text().replace("high", "low"))
    printed = run(capsys, "validate", tiny_recipe, f"tasks.mood.train={path}").err
    assert "task mood: the training file has no row with high, but the dev file has." in printed


def test_a_disk_that_is_too_small_is_reported(tiny_recipe, here, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 10_000})())
    with pytest.raises(ResourceError):
        app(["validate", str(tiny_recipe)], standalone_mode=False)


def test_a_dry_run_is_possible_in_the_folder_of_a_run(tiny_recipe, here, capsys):
    run(capsys, "train", tiny_recipe, "-o", "there", "-q")
    found = run(capsys, "train", tiny_recipe, "-o", "there", "--dry-run")
    assert "no problems found" in found.out
    assert "there contains a run; to train, choose --resume, --force or another -o." in found.err
    with pytest.raises(UsageError):
        app(["train", str(tiny_recipe), "-o", "there"], standalone_mode=False)
