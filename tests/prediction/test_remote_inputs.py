"""Inputs that are URLs, folders and patterns: the outputs of local files."""

import gzip
import subprocess
import sys

import fsspec
import pytest
import tiny
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.errors import DataError, UsageError
from mbert_cli.prediction import outputs
from mbert_cli.prediction.input_files import input_files, plain_path
from mbert_cli.storage import local_copies

FLAGS = ("-t", "mood", "--precision", "fp32", "--device", "cpu", "-q")


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    mbert("train", recipe, "-o", folder / "run", "training.epochs=1", "-q")
    return folder / "run"


def mbert(*words):
    app([*map(str, words)], standalone_mode=False)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder `in` with two tables, and a store `memory://in` with the same."""
    monkeypatch.setenv("MBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(local_copies, "_pinned", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    rows = [f"{row}\t{text}" for row, text in enumerate(sentences(9, 3))]
    (tmp_path / "in" / "a.tsv").write_text("\n".join(["id\ttext", *rows]) + "\n")
    (tmp_path / "in" / "b.csv.gz").write_bytes(gzip.compress(b"text\na cat\na dog\n"))
    store = fsspec.filesystem("memory")
    store.store.clear()
    for path in (tmp_path / "in").iterdir():
        store.pipe(f"/in/{path.name}", path.read_bytes())
    yield tmp_path
    store.store.clear()


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def texts(folder):
    return {name: gzip.decompress(data) if name.endswith(".gz") else data for name, data in contents(folder).items()}


def test_a_folder_of_a_store_has_the_outputs_of_the_local_folder(run, here):
    mbert("predict", run, "in/a.tsv", "in/b.csv.gz", "-o", "files", *FLAGS)
    mbert("predict", run, "in", "-o", "folder", *FLAGS)
    mbert("predict", run, "memory://in/", "-o", "store", *FLAGS)
    mbert("predict", run, "memory://in/*.tsv", f"file://{here}/in/b.csv.gz", "-o", "mixed", *FLAGS)
    expected = texts(here / "files")
    assert list(expected) == ["a.tsv", "b.csv.gz"]
    assert texts(here / "folder") == texts(here / "store") == texts(here / "mixed") == expected


def test_vectors_of_a_url_are_those_of_the_file(run, here):
    mbert("embed", run, "in/a.tsv", "-o", "file.npy", *FLAGS)
    mbert("embed", run, "memory://in/a.tsv", "-o", "url.npy", *FLAGS)
    assert (here / "url.npy").read_bytes() == (here / "file.npy").read_bytes()


def test_parts_of_a_url_and_of_the_same_file_are_joined(run, here):
    mbert("predict", run, "in/a.tsv", "-o", "whole.tsv", *FLAGS)
    mbert("predict", run, "in/a.tsv", "-o", "1.tsv", "--shard", "1/2", *FLAGS)
    mbert("predict", run, "memory://in/a.tsv", "-o", "2.tsv", "--shard", "2/2", *FLAGS)
    mbert("join", "1.tsv", "2.tsv", "-o", "joined.tsv", "-q")
    assert (here / "joined.tsv").read_bytes() == (here / "whole.tsv").read_bytes()


def test_an_interrupted_prediction_of_a_url_continues(run, here, monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 3)
    mbert("predict", run, "in/a.tsv", "-o", "whole.tsv", *FLAGS)
    real, computed = outputs.run_model, []

    def dying(*arguments, **options):
        computed.append(1)
        if len(computed) == 2:
            raise MemoryError("out of memory")
        return real(*arguments, **options)

    monkeypatch.setattr(outputs, "run_model", dying)
    with pytest.raises(MemoryError):
        mbert("predict", run, "memory://in/a.tsv", "-o", "out.tsv", *FLAGS)
    mbert("predict", run, "memory://in/a.tsv", "-o", "out.tsv", *FLAGS)
    assert len(computed) == 4  # 3 windows, one of them twice
    assert (here / "out.tsv").read_bytes() == (here / "whole.tsv").read_bytes()


def test_a_url_that_cannot_be_read_does_not_stop_the_others(run, here):
    with pytest.raises(DataError) as error:
        mbert("predict", run, "memory://in/none.tsv", "memory://in/a.tsv", "-o", "out", *FLAGS)
    assert error.value.problems == ("memory://in/none.tsv: does not exist; correct the name.",)
    assert list(contents(here / "out")) == ["a.tsv"]


def test_a_missing_input_is_reported_if_the_output_exists(run, here):
    (here / "out.tsv").write_text("old")
    with pytest.raises(DataError, match=r"none.tsv: there is no such file"):
        mbert("predict", run, "none.tsv", "-o", "out.tsv", "--force", *FLAGS)
    assert (here / "out.tsv").read_text() == "old"


def test_a_bad_row_has_its_place_in_the_url(run, here):
    fsspec.filesystem("memory").pipe("/in/bad.tsv", b"id\ttext\n1\ta cat\n2\n")
    with pytest.raises(DataError, match=r"^memory://in/bad.tsv:3: "):
        mbert("predict", run, "memory://in/bad.tsv", "-o", "out.tsv", *FLAGS)
    assert not (here / "out.tsv").exists()


@pytest.mark.parametrize(("command", "output"), [("predict", "memory://out.tsv"), ("embed", "memory://out.npy")])
def test_an_output_that_is_a_url_is_refused(run, here, command, output):
    with pytest.raises(UsageError, match=f"{output}: is a URL, but outputs are local"):
        mbert(command, run, "in/a.tsv", "-o", output, *FLAGS)
    with pytest.raises(UsageError, match="memory://out: is a URL, but outputs are local"):
        mbert("predict", run, "in", "-o", "memory://out", *FLAGS)


def test_names_of_files_and_streams_are_kept(here):
    assert input_files(["-"]) == (["-"], False)
    assert input_files(["./in/a.tsv", "none.tsv"]) == (["./in/a.tsv", "none.tsv"], False)
    assert input_files([f"file://{here}/in/a.tsv"]) == ([f"{here}/in/a.tsv"], False)
    assert input_files(["in/*.tsv"]) == (["in/a.tsv"], True)
    assert plain_path("zip://a.tsv::file:///in.zip") == "zip://a.tsv::file:///in.zip"


def test_local_inputs_do_not_import_fsspec(here):
    code = "import sys; from mbert_cli.prediction.input_files import input_files; input_files(['in']); "
    subprocess.run([sys.executable, "-c", code + "assert not {'torch', 'fsspec'} & {*sys.modules}"], check=True)
