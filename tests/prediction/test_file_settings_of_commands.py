"""A task's file settings are the defaults of predict, embed and evaluate."""

import json

import numpy as np
import pandas
import pytest

from mbert_cli.cli import app
from mbert_cli.errors import MbertError

FLAGS = ("--precision", "fp32", "--device", "cpu", "-q")
TEXTS = ['"Never," he said, "again."', 'Nine inches (9") wide', '"awful', "a great cat"]


def rows(delimiter):
    header, labels = ["mood", "review"], ["low", "mid", "high", "low"]
    return "".join(
        delimiter.join(cells) + "\n"
        for cells in [header, *zip(labels * 5, [f"{t} {i}" for i in range(5) for t in TEXTS], strict=True)]
    )


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A task whose files have literal quotes, pipes as delimiters, and a column with another name."""
    import tiny

    folder = tmp_path_factory.mktemp("settings")
    (folder / "mood.txt").write_text(rows("|"))
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    values = json.loads(recipe.read_text())
    files = {"train": str(folder / "mood.txt"), "dev": str(folder / "mood.txt")}
    own = {"quoting": "none", "delimiter": "pipe", "columns": {"text": "review"}}
    values["tasks"] = {"mood": {**values["tasks"]["mood"], **files, **own}}
    recipe.write_text(json.dumps(values))
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text(rows("|"))
    (tmp_path / "tabs.txt").write_text(rows("\t"))
    (tmp_path / "other.csv").write_text('said,mood\n"""awful",low\na great cat,mid\n')
    return tmp_path


def mbert(*words):
    app([*map(str, words), *FLAGS], standalone_mode=False)


def test_predict_reads_an_input_as_the_task_reads_its_files(run, here):
    mbert("predict", run, "in.txt", "-o", "out.txt")
    header, *found = (here / "out.txt").read_text().splitlines()
    assert header == "mood|review|pred|p_low|p_mid|p_high"
    assert [line.split("|")[1] for line in found] == [line.split("|")[1] for line in rows("|").splitlines()[1:]]


def test_the_delimiter_of_the_input_is_not_that_of_a_csv_file(run, here):
    (here / "in.csv").write_text(rows("\t"))
    mbert("predict", run, "in.csv", "-o", "out.csv", "--delimiter", "tab")
    assert pandas.read_csv(here / "out.csv")["review"].to_list() == [
        line.split("\t")[1] for line in rows("\t").splitlines()[1:]
    ]


def test_how_pandas_reads_plain_quotes_is_printed_once(run, here, capsys):
    words = ["predict", str(run), "tabs.txt", "tabs.tsv", "-o", "out", "--delimiter", "tab", "--device", "cpu"]
    (here / "tabs.tsv").write_text(rows("\t"))
    app(words, standalone_mode=False)
    advice = "out/tabs.txt: quotes are plain text, as in the input; pandas reads it with sep='\\t', quoting=3.\n"
    printed = capsys.readouterr().err
    assert advice in printed
    assert printed.count("quoting=3") == 1
    assert pandas.read_csv(here / "out" / "tabs.tsv", sep="\t", quoting=3)["review"].to_list() == [
        line.split("\t")[1] for line in rows("\t").splitlines()[1:]
    ]
    app([*words[:2], "tabs.tsv", "-o", "out.csv", *words[-4:]], standalone_mode=False)
    assert "quoting=3" not in capsys.readouterr().err


def test_embed_reads_an_input_as_the_task_reads_its_files(run, here):
    mbert("embed", run, "in.txt", "-o", "pipe.npy")
    assert np.load(here / "pipe.npy").shape == (20, 16)
    mbert("embed", run, "tabs.txt", "-o", "tab.npy", "--delimiter", "tab")
    np.testing.assert_array_equal(np.load(here / "pipe.npy"), np.load(here / "tab.npy"))


def test_flags_override_the_settings_of_the_task(run, here):
    mbert(
        "predict",
        run,
        "other.csv",
        "-o",
        "out.csv",
        "--delimiter",
        "comma",
        "--quoting",
        "csv",
        "--columns",
        "text=said",
    )
    assert (here / "out.csv").read_text().splitlines()[1].startswith('"""awful",low,')
    words = ("--delimiter", "comma", "--quoting", "csv", "--columns", "text=said")
    mbert("embed", run, "other.csv", "-o", "v.npy", *words)
    assert np.load(here / "v.npy").shape == (2, 16)
    mbert("evaluate", run, "--data", "mood=other.csv", *words, "-o", "found", "--top-errors", "5")
    metrics = json.loads((here / "found" / "metrics.json").read_text())
    assert metrics["tasks"]["mood"]["examples"] == 2
    errors = (here / "found" / "mood_errors.tsv").read_text().splitlines()[1:]
    assert errors
    assert all(line.split("\t")[-1] in ('"""awful"', "a great cat") for line in errors)


def test_a_column_that_no_task_has_is_refused_by_every_command(run, here):
    for words in (["predict", run, "in.txt"], ["embed", run, "in.txt", "-o", "v.npy"], ["evaluate", run]):
        with pytest.raises(MbertError, match="--columns txt=review: no task has a column 'txt'; did you mean 'text'"):
            mbert(*words, "--columns", "txt=review")


def test_messages_name_the_flag_and_the_setting(run, here):
    with pytest.raises(MbertError) as refusal:
        mbert("predict", run, "in.txt", "--quoting", "csv")
    assert "in.txt:2: text follows a closing quote" in str(refusal.value)
    assert "--quoting none (in a recipe's task: quoting: none)" in str(refusal.value)


def test_a_task_must_be_named_if_tasks_read_their_files_differently(
    tiny_checkpoint, tiny_files, here, tmp_path_factory
):
    import tiny

    folder = tmp_path_factory.mktemp("several")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    words = ["tasks.near.quoting=none", "adapters=[]", "training.epochs=1", "-q"]
    app(["train", str(recipe), "-o", str(folder / "run"), *words], standalone_mode=False)
    (here / "pairs.tsv").write_text('one\ttwo\n"a cat\ta "dog"\n')
    for more in (
        ["predict", folder / "run", "pairs.tsv"],
        ["embed", folder / "run", "pairs.tsv", "--text", "one", "-o", "v.npy"],
    ):
        with pytest.raises(
            MbertError, match=r"same: quoting auto; near: quoting none\); choose one with -t, or --quoting"
        ):
            mbert(*more)
    mbert("predict", folder / "run", "pairs.tsv", "-t", "near", "-o", "out.tsv")
    assert (here / "out.tsv").read_text().splitlines()[1].startswith('"a cat\ta "dog"\t')


def test_evaluate_skips_bad_rows_with_on_bad_row_skip(run, here):
    (here / "bad.txt").write_text("review|mood\na cat|low\na dog|none such\na bird|high\n")
    with pytest.raises(MbertError) as refusal:
        mbert("evaluate", run, "--data", "mood=bad.txt")
    assert str(refusal.value).startswith("bad.txt:3: mood must be one of low, mid, high, but is 'none such'")
    assert str(refusal.value).endswith("; correct the row, or add --on-bad-row skip.")
    mbert("evaluate", run, "--data", "mood=bad.txt", "--on-bad-row", "skip", "-o", "found")
    assert json.loads((here / "found" / "metrics.json").read_text())["tasks"]["mood"]["examples"] == 2
