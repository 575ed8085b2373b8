"""Each command counts texts that are longer than a model can read, or refuses them."""

import json

import numpy as np
import pytest

from mbert_cli.cli import app
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.errors import MbertError

FLAGS = ("--precision", "fp32", "--device", "cpu")
LONG = "cat " * 40
"""A long text; the tiny model reads only the first 16 of its 48 tokens."""


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("truncation")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.tsv").write_text(f"text\tmood\n{LONG}dog\tlow\n{LONG}bird\tmid\n")
    (tmp_path / "mixed.tsv").write_text(f"text\tmood\na cat\tlow\n{LONG}bird\tmid\na dog\thigh\n")
    (tmp_path / "pairs.tsv").write_text(f"one\ttwo\tsame\na cat\t{LONG}\t0\n{LONG}\t{LONG}\t1\na cat\ta dog\t1\n")
    return tmp_path


def mbert(capsys, *words):
    app([*map(str, words), *FLAGS], standalone_mode=False)
    captured = capsys.readouterr()
    return captured.out, captured.err


SAID = (
    "2 of 2 rows of task mood were cut at 16 tokens: train with a larger training.max_length (this encoder reads up to "
    "48 tokens), or with tasks.mood.windows.stride=8 (reads long texts in windows). To reject such rows, add "
    "--strict-length (in training: training.strict_length=true)."
)


def last(err):
    return err.splitlines()[-1]


def test_each_command_reports_the_number_of_cut_rows(run, here, capsys):
    _, err = mbert(capsys, "predict", run, "long.tsv", "-t", "mood", "-o", "out.tsv")
    first, second = (line.split("\t")[2:] for line in (here / "out.tsv").read_text().splitlines()[1:])
    assert first == second  # the texts differ only after the part that is read
    assert last(err) == f"out.tsv: {SAID}"
    assert last(mbert(capsys, "embed", run, "long.tsv", "-t", "mood", "-o", "v.npy")[1]) == SAID
    assert last(mbert(capsys, "evaluate", run, "--data", "mood=long.tsv")[1]) == SAID


def test_a_row_is_counted_once_even_if_both_texts_are_cut(run, here, capsys):
    _, err = mbert(capsys, "predict", run, "pairs.tsv", "-t", "same", "-t", "near", "-o", "out.tsv")
    assert "2 of 3 rows of task same and 2 of 3 rows of task near were cut at 16 tokens" in err
    _, err = mbert(capsys, "predict", run, "mixed.tsv", "-t", "mood", "--limit", "1", "-o", "one.tsv")
    assert "cut" not in err


def test_json_output_has_the_count_and_the_limit(run, here, capsys):
    out, err = mbert(capsys, "evaluate", run, "--data", "mood=mixed.tsv", "--json", "-o", "found")
    assert last(err).startswith("1 of 3 rows of task mood were cut at 16 tokens")
    for metrics in (json.loads(out), json.loads((here / "found" / "metrics.json").read_text())):
        assert metrics["max_length"] == 16
        assert metrics["tasks"]["mood"]["cut"] == 1
    own = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert own["max_length"] == 16
    assert {task: each["cut"] for task, each in own["tasks"].items()} == {"mood": 0, "same": 0, "near": 0}


def test_rows_of_several_windows_are_counted_together(run, here, capsys, monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 2)
    monkeypatch.setattr("mbert_cli.data.examples._WINDOW", 2)
    _, err = mbert(capsys, "predict", run, "mixed.tsv", "-t", "mood", "-o", "out.tsv")
    assert "1 of 3 rows of task mood were cut" in err
    assert "1 of 3 rows of task mood were cut" in mbert(capsys, "evaluate", run, "--data", "mood=mixed.tsv")[1]


def test_strict_length_refuses_the_first_row_that_is_too_long(run, here, capsys):
    for words in (
        ["predict", run, "mixed.tsv", "-t", "mood", "-o", "x.tsv"],
        ["embed", run, "mixed.tsv", "-t", "mood", "-o", "x.npy"],
        ["evaluate", run, "--data", "mood=mixed.tsv", "-o", "x"],
    ):
        with pytest.raises(MbertError) as refusal:
            mbert(capsys, *words, "--strict-length")
        assert str(refusal.value).startswith("mixed.tsv:3: is longer than 16 tokens, as task mood reads it; shorten it")
    assert sorted(path.name for path in here.iterdir()) == ["long.tsv", "mixed.tsv", "pairs.tsv"]


def test_a_resumed_prediction_also_counts_the_rows_of_the_first_part(run, here, capsys, monkeypatch):
    from mbert_cli.storage.resumable_output import PartialOutput

    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 2)
    mbert(capsys, "predict", run, "mixed.tsv", "-t", "mood", "-o", "whole.tsv")
    commit = PartialOutput.commit

    def dying(self, count):
        commit(self, count)
        if count:  # not after the header
            raise MemoryError("out of memory")

    monkeypatch.setattr(PartialOutput, "commit", dying)
    for name in ("cut.tsv", "strict.tsv"):
        with pytest.raises(MemoryError):
            mbert(capsys, "predict", run, "mixed.tsv", "-t", "mood", "-o", name)
    monkeypatch.setattr(PartialOutput, "commit", commit)
    with pytest.raises(MbertError, match="mixed.tsv:3: is longer than 16 tokens"):
        mbert(capsys, "predict", run, "mixed.tsv", "-t", "mood", "-o", "strict.tsv", "--strict-length")
    _, err = mbert(capsys, "predict", run, "mixed.tsv", "-t", "mood", "-o", "cut.tsv")
    assert "resuming after 2 rows" in err
    assert "1 of 3 rows of task mood were cut" in err
    assert (here / "cut.tsv").read_bytes() == (here / "whole.tsv").read_bytes()


def test_a_larger_max_length_is_not_advised_if_the_encoder_cannot_read_more():
    note = LengthLimits(512, 512).note({"mood": [2, 2], "same": [0, 5]})
    assert note is not None
    assert note.startswith(
        "2 of 2 rows of task mood were cut at 512 tokens: this encoder reads no more than 512 tokens;"
    )
    assert LengthLimits(128, 512).note({"mood": [0, 2]}) is None


def test_the_vector_of_a_cut_text_is_that_of_its_beginning(run, here, capsys):
    mbert(capsys, "embed", run, "long.tsv", "-t", "mood", "-o", "v.npy")
    first, second = np.load(here / "v.npy")
    np.testing.assert_allclose(first, second, atol=1e-6)
