"""Inputs and outputs of commands that divide the rows among processes."""

import pytest

from mbert_cli.errors import MbertError, UsageError
from mbert_cli.prediction.divided_files import divide, note_joined, parts_folder, remove_parts
from mbert_cli.prediction.input_files import divided_outputs, input_files


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("b.tsv", "a.csv.gz", "c.parquet", "notes.md", ".hidden.tsv"):
        (tmp_path / "in" / name).write_text("text\na cat\n")
    return tmp_path


def outputs_of(inputs, output):
    return divided_outputs(*input_files(inputs), output, False, "same", "torchrun")


def test_folders_and_patterns_are_replaced_by_their_tables(here):
    assert outputs_of(["in"], "out") == {
        "in/a.csv.gz": "out/a.csv.gz",
        "in/b.tsv": "out/b.tsv",
        "in/c.parquet": "out/c.parquet",
    }
    assert outputs_of(["in/*.tsv"], "out") == {"in/b.tsv": "out/b.tsv"}
    assert outputs_of(["in/b.tsv"], "one.tsv") == {"in/b.tsv": "one.tsv"}


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["nowhere.tsv"], "out", r"nowhere.tsv: does not exist"),
        (["in/*.jsonl"], "out", r"in/\*.jsonl: does not exist"),
        (["-"], "out", "standard input: torchrun reads an input several times"),
        (["in/b.tsv"], "s3://bucket/out", "s3://bucket/out: is a URL, but outputs are local"),
        (["in"], "s3://bucket/out", "s3://bucket/out: is a URL, but outputs are local"),
        (["in"], "-", "torchrun writes files"),
        (["."], "out", "contains no table"),
        (["in"], "in", "is the input"),
    ],
)
def test_what_cannot_be_read_or_written_is_refused(here, inputs, output, message):
    with pytest.raises(MbertError, match=message):
        outputs_of(inputs, output)


def test_an_interrupted_command_keeps_its_parts(here, monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.divided_files._LEAST_BYTES", 1)
    files = {"in/b.tsv": "b.tsv", "in/c.parquet": "c.parquet"}
    first = divide(files, 3)
    assert [len(file.parts) for file in first] == [3, 3]
    assert divide(files, 7) == first  # a number of parts that an interrupted command has chosen stays
    remove_parts(first)
    assert not parts_folder(here / "b.tsv").exists()


def test_only_an_output_that_was_joined_from_its_parts_is_replaced(here):
    words = ["in/b.tsv"], "b.tsv"
    files = divide({"in/b.tsv": "b.tsv"}, 3)
    (here / "b.tsv").write_text("by another command, while the parts are unfinished")
    with pytest.raises(UsageError, match="exists"):
        outputs_of(*words)
    note_joined(here / "b.tsv")
    assert outputs_of(*words) == {"in/b.tsv": "b.tsv"}
    remove_parts(files)
    with pytest.raises(UsageError, match="exists"):
        outputs_of(*words)


def test_small_files_have_one_part(here):
    assert [len(file.parts) for file in divide({"in/b.tsv": "b.tsv"}, 8)] == [1]


def test_larger_files_have_more_parts(here, monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.divided_files._LEAST_BYTES", 10)
    (here / "large.tsv").write_text("text\n" + "a cat\n" * 200)
    (here / "small.tsv").write_text("text\n" + "a cat\n" * 10)
    assert [len(file.parts) for file in divide({"large.tsv": "a.tsv", "small.tsv": "b.tsv"}, 4)] == [8, 1]


def test_two_names_of_a_file_are_two_inputs(here):
    (here / "link.tsv").symlink_to("in/b.tsv")
    assert len({file.input for file in divide({"in/b.tsv": "b.tsv", "link.tsv": "link-out.tsv"}, 2)}) == 2
