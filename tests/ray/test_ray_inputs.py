"""What `--engine ray` accepts, checked before Ray starts."""

import numpy as np
import pytest
import tiny

from mbert_cli.cli import app
from mbert_cli.errors import DataError, MbertError, UsageError
from mbert_cli.ray import EmbedBatch, PredictBatch
from mbert_cli.ray.inputs import outputs_of
from mbert_cli.ray.parts import divide, parts_folder, remove_parts


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("b.tsv", "a.csv.gz", "c.parquet", "notes.md", ".hidden.tsv"):
        (tmp_path / "in" / name).write_text("text\na cat\n")
    return tmp_path


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    return folder / "run"


def test_folders_and_patterns_are_replaced_by_their_tables(here):
    assert outputs_of(["in"], "out", False, "same") == {
        "in/a.csv.gz": "out/a.csv.gz",
        "in/b.tsv": "out/b.tsv",
        "in/c.parquet": "out/c.parquet",
    }
    assert outputs_of(["in/*.tsv"], "out", False, "same") == {"in/b.tsv": "out/b.tsv"}
    assert outputs_of(["in/b.tsv"], "one.tsv", False, "same") == {"in/b.tsv": "one.tsv"}


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["nowhere.tsv"], "out", r"nowhere.tsv: does not exist"),
        (["in/*.jsonl"], "out", r"in/\*.jsonl: does not exist"),
        (["-"], "out", "standard input: --engine ray reads an input several times"),
        (["s3://bucket/a.tsv"], "out", "s3://bucket/a.tsv: is a URL"),
        (["in"], "-", "--engine ray writes files"),
        (["."], "out", "contains no table"),
        (["in"], "in", "is the input"),
    ],
)
def test_what_cannot_be_read_or_written_is_refused(here, inputs, output, message):
    with pytest.raises(MbertError, match=message):
        outputs_of(inputs, output, False, "same")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2"], "--workers needs --engine ray"),
        (["--address", "auto"], "--address needs --engine ray"),
        (["--engine", "ray", "--shard", "1/2"], "both divide the rows"),
    ],
)
@pytest.mark.parametrize("command", [["predict", "-o", "b.tsv"], ["embed", "-o", "b.npy"]])
def test_options_that_contradict_each_other_are_refused(here, command, words, message):
    with pytest.raises(UsageError, match=message):
        app([command[0], "run", "in/b.tsv", *command[1:], *words], standalone_mode=False)


def test_an_interrupted_command_keeps_its_parts(here, monkeypatch):
    monkeypatch.setattr("mbert_cli.ray.parts._LEAST_BYTES", 1)
    files = {"in/b.tsv": "b.tsv", "in/c.parquet": "c.parquet"}
    first = divide(files, 3)
    assert [len(file.parts) for file in first] == [3, 3]
    assert divide(files, 7) == first  # a number of parts that an interrupted command has chosen stays
    (here / "b.tsv").write_text("joined")
    assert outputs_of(["in/b.tsv"], "b.tsv", False, "same") == {"in/b.tsv": "b.tsv"}
    remove_parts(first)
    assert not parts_folder(here / "b.tsv").exists()
    with pytest.raises(UsageError, match="exists"):
        outputs_of(["in/b.tsv"], "b.tsv", False, "same")


def test_small_files_have_one_part(here):
    assert [len(file.parts) for file in divide({"in/b.tsv": "b.tsv"}, 8)] == [1]


def test_batches_name_their_mistakes(run):
    predict = PredictBatch(run, precision="fp32")
    batch = {"text": np.array(["a cat"], object), "one": np.array(["a"], object), "two": np.array(["b"], object)}
    names = [name for name in predict(batch) if name not in batch]
    assert {name.partition("_")[0] for name in names} == {"mood", "same", "near"}
    with pytest.raises(DataError, match="'text'"):
        PredictBatch(run, "mood")({"words": np.array(["a cat"], object)})
    with pytest.raises(DataError, match="already has a column 'pred'"):
        PredictBatch(run, "mood")({"text": np.array(["a"], object), "pred": np.array([1])})
    with pytest.raises(MbertError, match="moood"):
        PredictBatch(run, "moood")
    with pytest.raises(DataError, match="no column 'title'"):
        EmbedBatch(run, "mood", text="title")({"text": np.array(["a"], object)})
