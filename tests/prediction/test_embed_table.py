import json
import sys

import numpy as np
import pytest
import torch

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.data.batching import TaskData, pack
from mbert_cli.errors import DataError, MbertError, UsageError

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


def test_vectors_are_the_input_of_the_head(run, here):
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


def test_vectors_do_not_depend_on_the_size_of_windows(run, here, monkeypatch):
    embed(run, "-t", "mood", "-o", "all.npy")
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 3)
    embed(run, "-t", "mood", "-o", "some.npy")
    np.testing.assert_allclose(np.load(here / "all.npy"), np.load(here / "some.npy"), atol=1e-6)


def test_vectors_can_be_normalised_and_of_another_column(run, here):
    embed(run, "-t", "mood", "--text", "other", "--normalise", "-o", "v.npy")
    found = np.load(here / "v.npy")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, found[:1].repeat(4, 0), atol=1e-6)


def test_parquet_keeps_the_columns_beside_the_vectors(run, here, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [parquet]")
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 3)  # more than one group of rows
    embed(run, "-t", "mood", "-o", "v.npy")
    embed(run, "-t", "mood", "-o", "v.parquet")
    found = parquet.read_table(here / "v.parquet")
    assert found.column_names == ["id", "text", "other", "embedding"]
    assert found["text"].to_pylist() == TEXTS
    assert found.schema.field("embedding").type.list_size == 16
    np.testing.assert_array_equal(np.array(found["embedding"].to_pylist(), np.float32), np.load(here / "v.npy"))


def test_an_input_with_a_column_embedding_is_refused(run, here):
    pytest.importorskip("pyarrow.parquet", reason="needs the extra [parquet]")
    (here / "in.tsv").write_text("text\tembedding\na cat\t1\n")
    with pytest.raises(MbertError, match="in.tsv:1: has a column 'embedding' already; rename it"):
        embed(run, "-t", "mood", "-o", "v.parquet")
    assert [path.name for path in here.iterdir()] == ["in.tsv"]


def test_parquet_without_pyarrow_is_refused_before_a_file_is_written(run, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MbertError, match=r"pip install 'mbert-cli\[parquet\]'"):
        embed(run, "-t", "mood", "-o", "v.parquet")
    assert [path.name for path in here.iterdir()] == ["in.tsv"]


def test_a_table_without_rows_gives_no_vectors(run, here):
    (here / "in.tsv").write_text("text\n")
    embed(run, "-t", "mood", "-o", "v.npy")
    assert np.load(here / "v.npy").shape == (0, 16)


def test_without_adapters_the_task_can_be_omitted(run, here):
    embed(run.parent / "bare", "-o", "one.npy")
    embed(run.parent / "bare", "-o", "two.npy", "-t", "same", "--text", "text")
    np.testing.assert_array_equal(np.load(here / "one.npy"), np.load(here / "two.npy"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "v.npy"], "vectors differ by task: choose one with -t: mood, same, near."),
        (["-o", "v.npy", "-t", "moods"], "did you mean 'mood'?"),
        (
            ["-o", "v.npy", "-t", "mood", "--text", "txt"],
            "has no column 'txt', needed as text to embed; did you mean",
        ),
        (
            ["-o", "v.tsv", "-t", "mood"],
            "v.tsv: is not a file of vectors; end the name in .npy or .parquet.",
        ),
    ],
)
def test_a_refused_command_leaves_no_file(run, here, words, message):
    with pytest.raises(MbertError) as refusal:
        embed(run, *words)
    assert message in str(refusal.value)
    assert [path.name for path in here.iterdir()] == ["in.tsv"]


ONE, TWO, OTHER = ["cat", "man runs great"], ["a dog", "bird reads"], ["awful street", "a great dog"]


@pytest.fixture(scope="module")
def pairs(run, tiny_checkpoint, tiny_files):
    """A model with tasks that read pairs as one sequence (near), apart (same), and both ways (both)."""
    import tiny

    recipe = tiny.write_recipe(run.parent / "pairs.yaml", tiny_checkpoint, tiny_files)
    same = json.loads(recipe.read_text())["tasks"]["same"]
    words = [
        "tasks.near.head={kind: regression}",
        f"tasks.both={json.dumps(same | {'head': {'kind': 'dual_classification'}})}",
    ]
    app(
        ["train", str(recipe), "-o", str(run.parent / "pairs"), "training.epochs=1", *words, "-q"],
        standalone_mode=False,
    )
    return run.parent / "pairs"


@pytest.fixture
def two(here):
    for name, seconds in (("two", TWO), ("other", OTHER)):
        rows = "".join(f"{a}\t{b}\n" for a, b in zip(ONE, seconds, strict=True))
        (here / f"{name}.tsv").write_text(f"one\ttwo\n{rows}")
    return here


def vectors(run, file, *words):
    app(["embed", str(run), file, *words, "-o", "v.npy", "-F", *FLAGS[:-1]], standalone_mode=False)
    return np.load("v.npy")


def given_to_head(predictor, task):
    got = []
    predictor.saved.model.head(task).register_forward_pre_hook(lambda head, args: got.append(args))
    predictor({"one": ONE, "two": TWO}, task=task)
    order = np.argsort([-len(f"{a} {b}".split()) for a, b in zip(ONE, TWO, strict=True)], kind="stable")
    return [side.numpy()[np.argsort(order)] for side in got[0]]


@pytest.mark.parametrize("task", ["near", "both"])
def test_a_pair_that_the_head_reads_as_one_sequence_is_embedded_as_one_sequence(pairs, two, task):
    found = vectors(pairs, "two.tsv", "-t", task)
    predictor = Predictor(pairs, device="cpu", precision="fp32")
    np.testing.assert_allclose(found, given_to_head(predictor, task)[-1], atol=1e-5)
    assert np.abs(found - vectors(pairs, "other.tsv", "-t", task)).max(axis=1).min() > 1e-3
    rows = [{"one": a, "two": b} for a, b in zip(ONE, TWO, strict=True)]
    for rows_or_columns in (rows, iter(rows), {"one": ONE, "two": TWO}):
        np.testing.assert_allclose(predictor.embed(rows_or_columns, task), found, atol=1e-6)


def test_text_embeds_one_text_of_a_pair_alone(pairs, two):
    predictor = Predictor(pairs, device="cpu", precision="fp32")
    for task, column, texts in (("near", "one", ONE), ("near", "two", TWO), ("same", "two", TWO)):
        found = vectors(pairs, "two.tsv", "-t", task, "--text", column)
        np.testing.assert_allclose(found, predictor.embed(texts, task), atol=1e-6)


def test_embed_reports_that_the_second_text_is_not_embedded(pairs, two, capsys):
    found = vectors(pairs, "two.tsv", "-t", "same")
    message = capsys.readouterr().err
    assert "of one\n" in message
    assert "task same reads one and two apart; two is not embedded: --text two embeds it." in message
    predictor = Predictor(pairs, device="cpu", precision="fp32")
    np.testing.assert_allclose(found, predictor.embed(ONE, "same"), atol=1e-6)
    with pytest.raises(UsageError, match="task same reads one and two apart, so that a row has two vectors"):
        predictor.embed({"one": ONE, "two": TWO}, "same")
    vectors(pairs, "two.tsv", "-t", "near")
    message = capsys.readouterr().err
    assert "of one and two as one sequence" in message
    assert "not embedded" not in message


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a cat", "task mood: the input is one text, but must be a list of texts; write [text]."),
        (["a cat", None], "task mood: row 1: the text must be a text, but is None."),
        (["a cat", 7], "task mood: row 1: the text must be a text, but is 7."),
        (["a cat", "\udc80"], "task mood: row 1: the text contains half of a surrogate pair"),
        ({"txt": ["a cat"]}, "there is no 'text'; did you mean 'txt'?"),
    ],
)
def test_embed_and_calls_refuse_inputs_that_are_not_lists_of_texts(run, texts, message):
    predictor = Predictor(run, device="cpu", precision="fp32")
    with pytest.raises(DataError) as refusal:
        predictor.embed(texts, "mood")
    assert message in str(refusal.value)
    with pytest.raises(DataError) as refusal:
        predictor(texts, "mood")
    assert message.replace("the text", "text") in str(refusal.value)


def test_predict_refuses_half_a_surrogate_pair(run):
    with pytest.raises(DataError, match="row 0: text contains half of a surrogate pair"):
        Predictor(run, device="cpu", precision="fp32").predict([["\ud83d"]], "mood")


def test_a_suggested_option_is_quoted_for_the_shell(pairs, two, capsys):
    (two / "named.tsv").write_text("#1 String\t#2 String\ncat\tdog\n")
    recipe = json.loads((pairs.parent / "pairs.yaml").read_text())
    recipe["tasks"] = {"same": recipe["tasks"]["same"]}
    names = ["#1 String", "#2 String"]
    for split in ("train", "dev"):
        path = two / f"{split}.tsv"
        with open(recipe["tasks"]["same"][split]) as file:
            path.write_text(file.read().replace("id\tone\ttwo", "id\t#1 String\t#2 String", 1))
        recipe["tasks"]["same"][split] = str(path)
    recipe["tasks"]["same"]["text"] = names
    (two / "named.yaml").write_text(json.dumps(recipe))
    app(["train", "named.yaml", "-o", "named", "training.epochs=1", "-q"], standalone_mode=False)
    vectors("named", "named.tsv")
    assert "#2 String is not embedded: --text '#2 String' embeds it." in capsys.readouterr().err


def test_embed_reports_that_the_head_never_reads_the_text_alone(pairs, two, capsys):
    remark = "reads its two texts as one sequence: its head never sees"
    for task, is_remarked_on in (("near", True), ("both", False), ("same", False)):
        vectors(pairs, "two.tsv", "-t", task, "--text", "two")
        assert (f"task {task} {remark} two alone." in capsys.readouterr().err) == is_remarked_on
