"""Parts of a file: together they are the file that one process writes, whatever happens to the processes."""

import gzip
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiny
from crashes import crashes
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.errors import DataError, RunInUseError, UsageError
from mbert_cli.prediction import outputs, predictor
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.storage.resumable_output import partial_folder, partial_output

FLAGS = ("--precision", "fp32", "--device", "cpu", "-q")
PARTS = 7


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    return folder / "run"


read_once = cache(predictor.read_model)


def small_pieces(patch):
    """Read the model once, and predict 5 rows at once."""
    patch.setattr(predictor, "read_model", read_once)
    patch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 5)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder, in which 5 rows are predicted at once."""
    monkeypatch.chdir(tmp_path)
    small_pieces(monkeypatch)
    return tmp_path


@pytest.fixture
def dependent(monkeypatch):
    """Let every result depend on all rows that are computed together, as the last digits do with a large model."""
    predict, embed = Predictor.predict_tokens, Predictor.embed_tokens

    def key(data):
        return float(np.sum(np.arange(1, len(data) + 1) * data.lengths))

    def predict_tokens(self, data, task):
        columns = predict(self, data, task)
        return {name: values if name == "pred" else [key(data)] * len(data) for name, values in columns.items()}

    monkeypatch.setattr(Predictor, "predict_tokens", predict_tokens)
    monkeypatch.setattr(
        Predictor, "embed_tokens", lambda self, data, task: embed(self, data, task) + np.float32(key(data))
    )


def mbert(*words):
    app([*map(str, words)], standalone_mode=False)


def predict(run, *words):
    mbert("predict", run, *words, "-t", "mood", *FLAGS)


def embed(run, *words):
    mbert("embed", run, *words, "-t", "mood", *FLAGS)


def write(path, rows):
    """Write a file of texts with line breaks, quotes and blank lines, as far as its format has them."""
    texts = sentences(rows, 5)
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"id": pyarrow.array(range(rows), "int64"), "text": pyarrow.array(texts, "string")})
        parquet.write_table(table, path, row_group_size=4)
        return path
    if name.endswith(".jsonl"):
        text = "".join(json.dumps({"id": number, "text": each}) + "\n\n" for number, each in enumerate(texts))
    else:
        sign = "," if name.endswith(".csv") else "\t"
        cells = [f'"{each}, ""so"" he\nsaid"' if number % 3 == 0 else each for number, each in enumerate(texts)]
        text = "".join(f"{a}{sign}{b}\n" for a, b in [("id", '"te\nxt"' if rows < 0 else "text"), *enumerate(cells)])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_parts(command, run, file, ending, *words, parts=PARTS):
    names = [f"part-{part}{ending}" for part in range(1, parts + 1)]
    for part, name in enumerate(names, 1):
        command(run, file, "-o", name, "--shard", f"{part}/{parts}", *words)
    return names


def content(path):
    """Return what must be equal: the bytes; the text of a .gz file; the table of a Parquet file."""
    path = Path(path)
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path)
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


FORMATS = [
    (predict, "in.tsv", ".tsv"),
    (predict, "in.tsv.gz", ".tsv.gz"),
    (predict, "in.csv", ".csv"),
    (predict, "in.jsonl", ".jsonl"),
    (predict, "in.parquet", ".parquet"),
    (predict, "in.parquet", ".jsonl.gz"),
    (predict, "in.tsv", ""),
    (embed, "in.csv", ".npy"),
    (embed, "in.tsv.gz", ".parquet"),
]


CASES = [
    (*each, rows)
    for number, each in enumerate(FORMATS)
    for rows in ((0, 7, 103) if number else (0, 1, 6, 7, 8, 103))
    if rows or not each[1].endswith(".jsonl")  # a JSONL file without objects is empty, which is an error
]


@pytest.mark.parametrize(("command", "name", "ending", "rows"), CASES)
def test_joined_parts_are_the_file_that_one_process_writes(run, here, dependent, command, name, ending, rows):
    file = write(here / name, rows)
    command(run, file, "-o", f"whole{ending}")
    names = write_parts(command, run, file, ending)
    mbert("join", *names[::-1], "-o", f"joined{ending}", "-q")
    assert content(f"joined{ending}") == content(f"whole{ending}")
    if ending == ".npy":
        sizes = [len(np.load(each)) for each in names]
        assert sum(sizes) == rows
        assert max(sizes) - min(sizes) <= 1
    assert not [path.name for path in here.iterdir() if path.name.startswith(".joined")]


@pytest.mark.parametrize("format_", [("--format", "cs224n"), ("--keep", "none"), ("--limit", "17")])
def test_options_apply_to_the_whole(run, here, dependent, format_):
    file = write(here / "in.tsv", 23)
    predict(run, file, "-o", "whole.tsv", *format_)
    mbert("join", *write_parts(predict, run, file, ".tsv", *format_, parts=4), "-o", "joined.tsv", "-q")
    assert content("joined.tsv") == content("whole.tsv")


def test_parts_of_several_files_are_folders(run, here, dependent):
    files = [write(here / name, rows) for name, rows in (("a.tsv", 12), ("b.tsv", 3), ("c.tsv", 0))]
    predict(run, *files, "-o", "whole")
    for part in (1, 2, 3):
        predict(run, *files, "-o", f"part-{part}", "--shard", f"{part}/3")
    mbert("join", "part-3", "part-1", "part-2", "-o", "joined", "-q")
    assert sorted(path.name for path in (here / "joined").iterdir()) == ["a.tsv", "b.tsv", "c.tsv"]
    for name in ("a.tsv", "b.tsv", "c.tsv"):
        assert content(f"joined/{name}") == content(f"whole/{name}")


def test_a_finished_part_is_not_computed_again(run, here, monkeypatch):
    file = write(here / "in.tsv", 12)
    predict(run, file, "-o", "part.tsv", "--shard", "1/2")
    embed(run, file, "-o", "part.npy", "--shard", "1/2")
    before = [(here / name).stat().st_mtime_ns for name in ("part.tsv", "part.npy")]
    monkeypatch.setattr(outputs, "run_model", None)
    predict(run, file, "-o", "part.tsv", "--shard", "1/2")
    embed(run, file, "-o", "part.npy", "--shard", "1/2")
    assert [(here / name).stat().st_mtime_ns for name in ("part.tsv", "part.npy")] == before


@pytest.mark.parametrize(("command", "ending"), [(predict, ".tsv"), (predict, ".tsv.gz"), (embed, ".npy")])
def test_an_interrupted_part_continues(run, here, dependent, command, ending, monkeypatch):
    file = write(here / "in.tsv", 60)
    command(run, file, "-o", f"whole{ending}")
    real, left, computed = outputs.run_model, [2], []

    def dying(*arguments, **options):
        computed.append(1)
        if len(computed) > left[0]:
            raise MemoryError("out of memory")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "run_model", dying)
        with pytest.raises(MemoryError):
            command(run, file, "-o", f"part-2{ending}", "--shard", "2/2")
        with pytest.raises(DataError, match=r"part-2\S*: is not finished; run the command that writes it again"):
            mbert("join", f"part-2{ending}", "-o", f"joined{ending}")
        left[0] = 100
        computed.clear()
        names = write_parts(command, run, file, ending, parts=2)
        assert len(computed) == 6 + 4
    mbert("join", *names, "-o", f"joined{ending}", "-q")
    assert content(f"joined{ending}") == content(f"whole{ending}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a dead process leaves files open
def test_a_part_that_died_anywhere_is_repeated_to_the_same_bytes(run, here):
    file = write(here / "in.tsv", 12)
    predict(run, file, "-o", "part.tsv", "--shard", "2/3")
    (here / "dead").mkdir()
    died = 0
    for folder in crashes(
        here / "dead",
        lambda folder: None,
        lambda folder: predict(run, file, "-o", folder / "part.tsv", "--shard", "2/3"),
    ):
        died += 1
        predict(run, file, "-o", folder / "part.tsv", "--shard", "2/3")
        assert (folder / "part.tsv").read_bytes() == (here / "part.tsv").read_bytes()
        assert sorted(path.name for path in folder.iterdir()) == [".part.tsv.partial", "part.tsv"]
    assert died > 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_join_that_died_anywhere_leaves_the_old_output_or_the_new_one(run, here):
    file = write(here / "in.tsv", 12)
    predict(run, file, "-o", "whole.tsv")
    names = [here / name for name in write_parts(predict, run, file, ".tsv", parts=3)]
    (here / "dead").mkdir()
    contents = set()
    for folder in crashes(
        here / "dead",
        lambda folder: (folder / "out.tsv").write_text("old"),
        lambda folder: mbert("join", *names, "-o", folder / "out.tsv", "--force", "-q"),
    ):
        contents.add((folder / "out.tsv").read_bytes())
    assert contents <= {b"old", (here / "whole.tsv").read_bytes()}
    assert b"old" in contents


def test_a_second_process_cannot_write_the_same_part(run, here):
    file = write(here / "in.tsv", 12)
    with partial_output(here / "part.tsv", {}, force=False), pytest.raises(RunInUseError, match="another mbert"):
        predict(run, file, "-o", "part.tsv", "--shard", "1/3")


def test_line_numbers_are_those_of_the_whole_file(run, here):
    path = here / "in.tsv"
    path.write_text("text\tid\n" + "cat\t1\n" * 22 + "bad\n" + "dog\t2\n" * 27)
    for part, is_bad in ((1, False), (2, False), (3, True), (4, False), (5, False)):
        if is_bad:
            with pytest.raises(DataError, match="in.tsv:24: has 1 column, but the header has 2"):
                predict(run, path, "-o", f"part-{part}.tsv", "--shard", f"{part}/5")
        else:
            predict(run, path, "-o", f"part-{part}.tsv", "--shard", f"{part}/5")
    with pytest.raises(DataError, match="part-3.tsv: does not exist; run the command that writes it."):
        mbert("join", *[f"part-{part}.tsv" for part in range(1, 6)], "-o", "joined.tsv")


def test_rows_that_are_cut_or_too_long_count_in_one_part_only(run, here, capsys):
    path = here / "in.tsv"
    rows = ["cat"] * 12
    rows[3] = rows[6] = "cat " * 30
    path.write_text("text\n" + "\n".join(rows) + "\n")
    notes = []
    for part in range(1, 7):  # parts of two rows in windows of five
        mbert("predict", run, path, "-t", "mood", "-o", f"p{part}.tsv", "--shard", f"{part}/6", *FLAGS[:-1])
        notes.append(re.findall(r"(\d+) of 2 rows of task mood were cut", capsys.readouterr().err))
    assert notes == [[], ["1"], [], ["1"], [], []]
    predict(run, path, "-o", "strict.tsv", "--shard", "1/6", "--strict-length")
    with pytest.raises(DataError, match="in.tsv:5: is longer than 16 tokens"):
        predict(run, path, "-o", "strict-2.tsv", "--shard", "2/6", "--strict-length")


def test_an_input_that_shrinks_after_it_was_counted_is_an_error(run, here, monkeypatch):
    file = write(here / "in.tsv", 12)
    from mbert_cli.prediction.shard import Shard, ShardRows

    monkeypatch.setattr(Shard, "rows_of", lambda self, table, limit: ShardRows(self, 14))
    for command, name in ((predict, "part.tsv"), (embed, "part.npy")):
        with pytest.raises(DataError, match="in.tsv: changed while it was read; run the same command again"):
            command(run, file, "-o", name, "--shard", "2/2")
        assert not (here / name).exists()
        assert not partial_folder(here / name).exists()


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("0/4", "--shard is '0/4', but parts are counted from 1 to 4; write 1/4."),
        ("5/4", "--shard is '5/4', but parts are counted from 1 to 4; write 4/4."),
        ("0/0", "--shard is '0/0', but parts are counted from 1; write 1/1."),
        ("a/b", "--shard is 'a/b', but must be PART/PARTS; write 1/4 for the first of four parts."),
        ("3", "--shard is '3', but must be PART/PARTS; write 1/4 for the first of four parts."),
        ("-1/4", "--shard is '-1/4', but must be PART/PARTS; write 1/4 for the first of four parts."),
        ("1/4/2", "--shard is '1/4/2', but must be PART/PARTS; write 1/4 for the first of four parts."),
        ("\u0661/4", "--shard is '\u0661/4', but must be PART/PARTS; write 1/4 for the first of four parts."),
    ],
)
def test_a_wrong_part_is_rejected(here, shard, message):
    for words in (("predict", "nowhere", "in.tsv", "-o", "p.tsv"), ("embed", "nowhere", "in.tsv", "-o", "p.npy")):
        with pytest.raises(UsageError) as error:
            mbert(*words, f"--shard={shard}")
        assert str(error.value) == message


def test_streams_have_no_parts(here):
    with pytest.raises(
        UsageError, match="standard input: --shard reads the input twice, first to count its rows; save"
    ):
        mbert("predict", "nowhere", "-", "-o", "p.tsv", "--shard", "1/2")
    with pytest.raises(UsageError, match="name a file with -o"):
        mbert("predict", "nowhere", "in.tsv", "--shard", "1/2")
    assert list(here.iterdir()) == []


@pytest.fixture(scope="module")
def all_parts(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_pieces(patch)
        file = write(folder / "in.tsv", 12)
        names = write_parts(predict, run, file, ".tsv", parts=3)
        predict(run, file, "-o", "four.tsv", "--shard", "2/4")
        predict(run, file, "-o", "kept.tsv", "--shard", "2/3", "--keep", "id")
        predict(run, file, "-o", "again.tsv", "--shard", "2/3")
        predict(run, file, "-o", "other.jsonl", "--shard", "2/3")
        predict(run, file, "-o", "whole.tsv")
        predict(run, write(folder / "in2.tsv", 13), "-o", "foreign.tsv", "--shard", "2/3")
    return folder, names


@pytest.fixture
def parts(all_parts, here):
    """Three parts of a file, and other outputs."""
    folder, names = all_parts
    shutil.copytree(folder, here, dirs_exist_ok=True)
    return names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("1 3", ".: part 2 of 3 is missing; predict it with --shard 2/3, and name all parts."),
        ("2", ".: parts 1, 3 of 3 are missing; predict them with --shard 1/3, and name all parts."),
        ("1 2 3 again.tsv", "again.tsv: is part 2 of 3, as is part-2.tsv; leave one of them out."),
        (
            "1 foreign.tsv 3",
            "foreign.tsv: is not of the same prediction as part-1.tsv: the input and the number of rows",
        ),
        (
            "1 four.tsv 3",
            "four.tsv: is not of the same prediction as part-1.tsv: the number of parts differs; leave it",
        ),
        ("1 kept.tsv 3", "kept.tsv: is not of the same prediction as part-1.tsv: kept differs; leave it out"),
        (
            "1 other.jsonl 3",
            "other.jsonl: is not of the same prediction as part-1.tsv: the format differs; leave it out",
        ),
        ("1 whole.tsv 3", "whole.tsv: has no journal .whole.tsv.partial/journal.jsonl; copy the folder .whole.tsv.par"),
        ("1 nowhere.tsv 3", "nowhere.tsv: does not exist; run the command that writes it."),
    ],
)
def test_parts_that_are_not_all_of_one_prediction_are_rejected(here, parts, words, message):
    names = [f"part-{word}.tsv" if word.isdigit() else word for word in words.split()]
    with pytest.raises(DataError) as error:
        mbert("join", *names, "-o", "joined.tsv")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert not (here / "joined.tsv").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("whole.tsv", "whole.tsv: exists; replace it with --force, or choose another output."),
        ("joined.jsonl", "joined.jsonl: parts are not converted while they are joined; end the name in .tsv."),
        ("joined.tsv.gz", "joined.tsv.gz: parts are not converted while they are joined; end the name in .tsv."),
        ("nowhere/x.tsv", "nowhere/x.tsv: there is no folder nowhere; create it first."),
        ("-", "-: is a stream; this command writes a file; name one."),
    ],
)
def test_an_output_that_cannot_be_written_is_rejected(here, parts, output, message):
    with pytest.raises(UsageError) as error:
        mbert("join", *parts, "-o", output)
    assert str(error.value) == message


def test_a_part_is_never_replaced_by_the_whole(here, parts):
    with pytest.raises(UsageError, match="part-1.tsv: is one of the parts; choose another output."):
        mbert("join", *parts, "-o", "part-1.tsv", "--force")


def test_force_replaces_the_output(here, parts):
    (here / "joined.tsv").write_text("old")
    mbert("join", *parts, "-o", "joined.tsv", "--force", "-q")
    assert content("joined.tsv") == content("whole.tsv")


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data[:-9] + b"X" + data[-8:], lambda data: b""]
)
def test_an_altered_part_is_rejected(here, parts, change):
    (here / "part-2.tsv").write_bytes(change((here / "part-2.tsv").read_bytes()))
    with pytest.raises(DataError, match=r"part-2.tsv: was altered after it was written: its sha256 is \w{64}, but its"):
        mbert("join", *parts, "-o", "joined.tsv")
    assert [path.name for path in here.iterdir() if "joined" in path.name] == []


@pytest.mark.parametrize("journal", ["", "{}\n", "[1]\n[2]\n", '{"origin": {}}\n{"rows": 1}\n'])
def test_a_damaged_journal_is_rejected(here, parts, journal):
    (partial_folder(here / "part-2.tsv") / "journal.jsonl").write_text(journal)
    with pytest.raises(DataError, match=r"journal.jsonl: is damaged; remove it and part-2.tsv, and run the command"):
        mbert("join", *parts, "-o", "joined.tsv")


def test_parts_that_were_computed_differently_are_joined_with_a_note(here, parts, capsys):
    journal = partial_folder(here / "part-3.tsv") / "journal.jsonl"
    journal.write_text(re.sub(r'"threads": \d+', '"threads": 64', journal.read_text()))
    mbert("join", *parts, "-o", "joined.tsv")
    printed = capsys.readouterr().err
    assert re.search(
        r"joined.tsv: the parts were computed differently \(threads \d+ and 64\), which can change", printed
    )
    assert content("joined.tsv") == content("whole.tsv")


def test_files_and_folders_are_not_joined_together(here, parts):
    (here / "folder").mkdir()
    with pytest.raises(
        UsageError, match="part-1.tsv: is not a folder, but folder is; join files and folders separately"
    ):
        mbert("join", "part-1.tsv", "folder", "-o", "joined")
    with pytest.raises(DataError, match="folder: contains no part"):
        mbert("join", "folder", "-o", "joined")


def test_join_does_not_import_torch():
    code = "import sys, mbert_cli.prediction.join_parts; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
