"""`predict` and `embed` in several processes: the files of one process, whatever is asked for."""

import gzip
import json
import os
import signal
import sys
import time

import pytest
import tiny
from commands import mbert_in_ranks, start
from ranks import ranks_of
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.errors import UsageError

FLAGS = ("--precision", "fp32", "--device", "cpu")
SMALL = {"mbert_cli.prediction.windows._MOST_ROWS": 5, "mbert_cli.prediction.divided_files._LEAST_BYTES": 150}


@pytest.fixture(scope="module")
def work(tiny_checkpoint, tiny_files, tmp_path_factory):
    """A folder with a run, tables, and what one process predicts for them, in windows of 5 rows."""
    folder = tmp_path_factory.mktemp("ranks")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    texts = sentences(53, 3)
    (folder / "a.tsv").write_text("id\ttext\n" + "".join(f"{row}\t{text}\n" for row, text in enumerate(texts)))
    (folder / "b.csv").write_text(
        "text,id\n" + "".join(f'"{text}, ""so""\n yes",{row}\n' for row, text in enumerate(texts))
    )
    (folder / "c.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps({"text": each}) + "\n" for each in texts).encode())
    )
    (folder / "bad.tsv").write_text("words\na cat\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 5)
        patch.chdir(folder)
        app(
            ["predict", "run", "a.tsv", "b.csv", "c.jsonl.gz", "-o", "whole", *FLAGS, "-q", "-t", "mood"],
            standalone_mode=False,
        )
        app(
            ["predict", "run", "a.tsv", "-o", "few.tsv", *FLAGS, "-q", "-t", "mood", "--limit", "17"],
            standalone_mode=False,
        )
        app(["embed", "run", "a.tsv", "-o", "whole.npy", *FLAGS, "-q", "-t", "mood"], standalone_mode=False)
    return folder


def in_ranks(count, work, *words):
    return mbert_in_ranks(count, *words, *FLAGS, cwd=work, patches=SMALL)


def content(path):
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_several_inputs_have_the_outputs_of_one_process_and_a_bad_one_does_not_stop_them(work, tmp_path):
    inputs = ["a.tsv", "bad.tsv", "b.csv", "c.jsonl.gz"]
    ended = in_ranks(3, work, "predict", "run", *inputs, "-t", "mood", "-o", tmp_path / "out")
    assert [each.returncode for each in ended] == [2, 0, 0]
    assert [each.stdout for each in ended] == ["", "", ""]
    assert [each.stderr for each in ended[1:]] == ["", ""]
    assert ended[0].stderr.count("bad.tsv") == 1
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["a.tsv", "b.csv", "c.jsonl.gz"]
    for name in ("a.tsv", "b.csv", "c.jsonl.gz"):
        assert content(tmp_path / "out" / name) == content(work / "whole" / name)
        assert f"out/{name}: 53 rows of" in ended[0].stderr


def test_a_limit_is_that_of_the_whole(work, tmp_path):
    ended = in_ranks(
        2, work, "predict", "run", "a.tsv", "-t", "mood", "-o", tmp_path / "few.tsv", "--limit", "17", "-q"
    )
    assert [(each.returncode, each.stderr) for each in ended] == [(0, ""), (0, "")]
    assert (tmp_path / "few.tsv").read_bytes() == (work / "few.tsv").read_bytes()


def test_vectors_are_those_of_one_process(work, tmp_path):
    ended = in_ranks(2, work, "embed", "run", "a.tsv", "-t", "mood", "-o", tmp_path / "v.npy")
    assert [each.returncode for each in ended] == [0, 0]
    assert (tmp_path / "v.npy").read_bytes() == (work / "whole.npy").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "run", "-", "-o", "x.tsv"], "standard input: torchrun reads an input several times; save it"),
        (["embed", "run", "a.tsv", "-o", "x.npy", "--device", "cuda:1"], "each process has its own GPU"),
    ],
)
def test_a_mistake_under_torchrun_is_reported_once(work, words, message):
    ended = mbert_in_ranks(2, *words, cwd=work)
    assert [each.returncode for each in ended] == [2, 2]
    assert message in ended[0].stderr
    assert len(ended[0].stderr.splitlines()) == 1
    assert ended[1].stderr == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2"], "--workers needs --engine ray"),
        (["--address", "auto"], "--address needs --engine ray"),
        (["--engine", "ray", "--shard", "1/2"], "--engine ray and --shard both divide the rows"),
        (["--devices", "2", "--shard", "1/2"], "--devices and --shard both divide the rows"),
        (["--devices", "2", "--engine", "ray"], "--devices and --engine ray both divide the rows"),
        (["--devices", "two"], "--devices is 'two'"),
        (["--devices", "2", "--device", "cuda:0"], "--device is 'cuda:0', but each process has its own GPU"),
    ],
)
@pytest.mark.parametrize("command", [["predict", "-o", "b.tsv"], ["embed", "-o", "b.npy"]])
def test_options_that_contradict_each_other_are_refused(work, command, words, message):
    with pytest.raises(UsageError, match=message):
        app([command[0], "run", "in.tsv", *command[1:], *words], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "1/2"], "--shard and torchrun both divide the rows"),
        (["--devices", "2"], "--devices starts the processes itself; leave it out, or run mbert without torchrun"),
        (["--engine", "ray"], "--engine ray starts the processes itself"),
    ],
)
def test_torchrun_divides_the_rows_alone(monkeypatch, words, message):
    from mbert_cli.commands.division import Division

    monkeypatch.setenv("WORLD_SIZE", "2")
    given = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
    with pytest.raises(UsageError, match=message):
        Division(**{"devices": None, "device": "auto", **given}).check()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_process_ends_all_and_the_same_command_continues(work, tmp_path):
    rows = tmp_path / "rows.tsv"
    filler = "." * 110  # a part has at least a megabyte
    rows.write_text("text\tfiller\n" + "".join(f"{text}\t{filler}\n" for text in sentences(20_000, 3)))
    out = tmp_path / "out" / "rows.tsv"
    out.parent.mkdir()
    words = ["predict", str(work / "run"), str(rows), "-t", "mood", "-o", str(out), *FLAGS]
    command = start(*words, "--devices", "2")
    deadline = time.monotonic() + 240
    while not (pieces := list(out.parent.glob(".rows.tsv.parts/2/.2-rows.tsv.partial/journal.jsonl"))):
        assert time.monotonic() < deadline
        assert command.poll() is None
        time.sleep(0.02)
    os.kill(ranks_of(command.pid)[1], signal.SIGKILL)
    _, messages = command.communicate()
    assert command.returncode == 6, messages
    assert "process 1 was killed by SIGKILL; run the same command again, which continues." in messages
    assert pieces[0].exists()
    assert not out.exists()
    ended = mbert_in_ranks(2, *words, cwd=tmp_path)
    assert [each.returncode for each in ended] == [0, 0], ended[0].stderr
    app(["predict", *words[1 : -len(FLAGS) - 1], str(tmp_path / "whole.tsv"), *FLAGS, "-q"], standalone_mode=False)
    assert out.read_bytes() == (tmp_path / "whole.tsv").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["rows.tsv"]
