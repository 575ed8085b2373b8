import sys

import numpy as np
import pytest
import torch

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.data.batching import TaskData, pack
from mbert_cli.errors import MbertError

TEXTS = ["cat", "man runs great on a street", "dog", "bird reads a awful"]
FLAGS = ("--precision", "fp32", "--device", "cpu", "-q")


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tiny_files, tmp_path_factory):
    import tiny

    folder = tmp_path_factory.mktemp("embed")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    app(["train", str(recipe), "-o", str(folder / "run"), "training.epochs=1", "-q"], standalone_mode=False)
    app(["train", str(recipe), "-o", str(folder / "bare"), "adapters=[]", "-q"], standalone_mode=False)
    return folder / "run"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.tsv").write_text("id\ttext\tother\n" + "".join(f"{i}\t{t}\tcat\n" for i, t in enumerate(TEXTS)))
    return tmp_path


def embed(run, *words):
    app(["embed", str(run), "in.tsv", *map(str, words), *FLAGS], standalone_mode=False)


def test_vectors_are_those_that_the_head_gets(run, here):
    embed(run, "-t", "mood", "-o", "v.npy")
    found = np.load(here / "v.npy")
    model = Predictor(run, device="cpu", precision="fp32").saved.model
    got = []
    model.head("mood").register_forward_pre_hook(lambda head, args: got.append(args[0]))
    data = TaskData((Predictor(run).saved.tokenizer.encode(TEXTS),), None)
    with torch.inference_mode():
        model(pack({"mood": data}, {"mood": np.arange(4)}))
    assert found.dtype == np.float32
    assert found.shape == (4, 16)
    np.testing.assert_allclose(found, got[0].numpy(), atol=1e-5)


def test_rows_do_not_depend_on_how_many_are_read_at_once(run, here, monkeypatch):
    embed(run, "-t", "mood", "-o", "all.npy")
    monkeypatch.setattr("mbert_cli.prediction._WINDOW", 3)
    embed(run, "-t", "mood", "-o", "some.npy")
    np.testing.assert_allclose(np.load(here / "all.npy"), np.load(here / "some.npy"), atol=1e-6)


def test_vectors_of_length_one_and_of_another_column(run, here):
    embed(run, "-t", "mood", "--text", "other", "--normalise", "-o", "v.npy")
    found = np.load(here / "v.npy")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, found[:1].repeat(4, 0), atol=1e-6)


def test_parquet_keeps_the_columns_beside_the_vectors(run, here, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [parquet]")
    monkeypatch.setattr("mbert_cli.prediction._WINDOW", 3)  # more than one group of rows
    embed(run, "-t", "mood", "-o", "v.npy")
    embed(run, "-t", "mood", "-o", "v.parquet")
    found = parquet.read_table(here / "v.parquet")
    assert found.column_names == ["id", "text", "other", "embedding"]
    assert found["text"].to_pylist() == TEXTS
    assert found.schema.field("embedding").type.list_size == 16
    np.testing.assert_array_equal(np.array(found["embedding"].to_pylist(), np.float32), np.load(here / "v.npy"))


def test_an_input_that_has_an_embedding_is_refused(run, here):
    pytest.importorskip("pyarrow.parquet", reason="needs the extra [parquet]")
    (here / "in.tsv").write_text("text\tembedding\na cat\t1\n")
    with pytest.raises(MbertError, match="in.tsv:1: has a column 'embedding' already; rename it"):
        embed(run, "-t", "mood", "-o", "v.parquet")
    assert [path.name for path in here.iterdir()] == ["in.tsv"]


def test_parquet_without_its_package_is_refused_before_a_file_is_made(run, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MbertError, match=r"pip install 'mbert-cli\[parquet\]'"):
        embed(run, "-t", "mood", "-o", "v.parquet")
    assert [path.name for path in here.iterdir()] == ["in.tsv"]


def test_a_table_without_rows_gives_no_vectors(run, here):
    (here / "in.tsv").write_text("text\n")
    embed(run, "-t", "mood", "-o", "v.npy")
    assert np.load(here / "v.npy").shape == (0, 16)


def test_without_adapters_no_task_need_be_named(run, here):
    embed(run.parent / "bare", "-o", "one.npy")
    embed(run.parent / "bare", "-o", "two.npy", "-t", "same", "--text", "text")
    np.testing.assert_array_equal(np.load(here / "one.npy"), np.load(here / "two.npy"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "v.npy"], "each task has adapters, hence vectors of its own; name one: mood, same, near."),
        (["-o", "v.npy", "-t", "moods"], "did you mean 'mood'?"),
        (
            ["-o", "v.npy", "-t", "mood", "--text", "txt"],
            "has no column 'txt', asked for as text to embed; did you mean",
        ),
        (
            ["-o", "v.tsv", "-t", "mood"],
            "v.tsv: vectors are written for NumPy or as Parquet; end the name in .npy or .parquet.",
        ),
    ],
)
def test_what_cannot_be_done_leaves_no_file(run, here, words, said):
    with pytest.raises(MbertError) as refusal:
        embed(run, *words)
    assert said in str(refusal.value)
    assert [path.name for path in here.iterdir()] == ["in.tsv"]
