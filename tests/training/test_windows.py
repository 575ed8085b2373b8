"""Texts that are read in overlapping windows, from training to prediction."""

import json
import random
from itertools import accumulate

import numpy as np
import pytest
import tiny
import torch
from tiny_runs import losses_after, options, train
from word_salad import WORDS, sentences

from mbert_cli.batch import Layout
from mbert_cli.cli import app
from mbert_cli.data.batching import TaskData, pack, tokenise_texts
from mbert_cli.encoder.dropout import keyed
from mbert_cli.encoder.late_interaction import max_sim
from mbert_cli.errors import RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.recipe.long_texts import WindowsSection
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.checks import check_recipe
from mbert_cli.training.dry_run import validate
from mbert_cli.training.fit import prepare
from mbert_cli.training.portion import deal

SECTION = WindowsSection(stride=4, pool="mean", most=3)
WINDOWS = [
    f"tasks.{task}.windows={{stride: 4, pool: {pool}, most: 3}}"
    for task, pool in (("mood", "mean"), ("same", "max"), ("near", "mean"))
]
# 3 windows of 14 tokens beside [CLS] and [SEP], which share 4, hold 34 tokens.
FITS, TOO_LONG = 34, 35


def text_of(words, seed):
    plain = [word for word in WORDS if word.isalpha()]
    return " ".join(random.Random(seed).choices(plain, k=words))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of the tiny tasks in which a third of the texts are longer than 14 tokens, and one has too many."""
    folder = tiny.write_files(tmp_path_factory.mktemp("long"))
    for path in sorted(folder.glob("*.tsv")):
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        texts = [index for index, name in enumerate(header.split("\t")) if name in ("text", "one", "two")]
        changed = []
        for number, row in enumerate(rows):
            cells = row.split("\t")
            if number % 3 == 0:
                cells[texts[number % len(texts)]] = text_of(TOO_LONG if number == 0 else 15 + number, number)
            changed.append("\t".join(cells))
        path.write_text("\n".join([header, *changed]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def recipe(tiny_checkpoint, files, tmp_path_factory):
    return tiny.write_recipe(tmp_path_factory.mktemp("recipe") / "recipe.yaml", tiny_checkpoint, files)


DUAL = (
    "tasks.near.head={kind: dual_similarity, late_interaction: true}",
    "tasks.near.symmetric=true",
    "curriculum=simultaneous",
    "encoder.dropout=0.3",
)


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    """A trained run whose tasks read long texts in windows."""
    folder = tmp_path_factory.mktemp("run") / "run"
    folder.mkdir()
    train(recipe, folder, *WINDOWS, *DUAL, "training.epochs=2")
    return folder


@pytest.fixture(scope="module")
def predictor(run):
    return Predictor(run, device="cpu", precision="fp32", kernels="torch")


def vectors_of_windows(predictor, text, seconds=None):
    """Return the vector of each window of a text, each read as a text by itself."""
    tokens = predictor.saved.tokenizer.encode([text], seconds, windows=SECTION)
    lengths = tokens.windows_of(np.array([0])).lengths
    ends = list(accumulate(lengths))
    vectors = []
    for end, length in zip(ends, lengths, strict=True):
        own = slice(end - length, end)
        alone = type(tokens)(tokens.ids[own], tokens.types[own], np.array([0, length]), [])
        vectors.append(predictor.embed_tokens(TaskData((alone,), None), "mood"))
    return np.concatenate(vectors)


def test_the_vector_of_a_text_is_the_mean_of_those_of_its_windows(predictor):
    texts = [text_of(words, words) for words in (3, 14, 15, 24, 25, FITS)]
    vectors = predictor.embed(texts, task="mood")
    expected = [vectors_of_windows(predictor, text) for text in texts]
    assert [len(each) for each in expected] == [1, 1, 2, 2, 3, 3]
    assert np.abs(vectors - [each.mean(0) for each in expected]).max() < 1e-5


def test_the_maximum_of_the_windows_is_taken_for_each_feature(predictor):
    model = predictor.saved.model
    data = tokenise_texts(predictor.saved.tokenizer, [[text_of(30, 1), "dog"]], ("first",), False, windows=SECTION)
    batch = pack({"same": data}, {"same": np.array([0, 1])})
    with torch.inference_mode():
        found = model.vectors(batch)
        alone = model.vectors(pack({"same": data}, {"same": np.array([1])}))
        h, layout = model.encoder(*model._inputs(batch)), batch.layout
        windows = model.pooling(h, layout)
    assert layout.num_sentences == 4
    assert torch.allclose(found[0], windows[:3].amax(0), atol=1e-6)
    assert torch.allclose(found[1:], alone, atol=1e-5)


def test_late_interaction_compares_the_tokens_of_all_windows():
    h = torch.randn(14, 4, generator=torch.Generator().manual_seed(0))
    windows = Layout([2, 1, 1, 3])  # texts of 2, 1, 1 and 3 windows: two first texts, two second texts
    texts = Layout([2, 2, 1, 3, 1, 2, 3]).joined(windows)
    assert texts.host_lengths.tolist() == [4, 1, 3, 6]
    assert torch.equal(max_sim(h, texts, 2), max_sim(h, Layout([4, 1, 3, 6]), 2))


@pytest.mark.parametrize("setting", WINDOWS)
def test_predictions_of_texts_that_fit_do_not_change(predictor, setting):
    texts = [" ".join(text.split()[:6]) for text in sentences(9, 5)]  # two of them fit into one sequence
    task = setting.split(".")[1]
    rows = [texts] if task == "mood" else [texts, texts[::-1]]
    head, section = predictor.saved.model.head(task), predictor.saved.task(task)
    plain = tokenise_texts(predictor.saved.tokenizer, rows, head.sides, section.symmetric)
    assert predictor.predict(rows, task) == predictor.predict_tokens(plain, task)


def test_neighbours_do_not_change_a_prediction(predictor):
    texts = [text_of(words, words) for words in (3, 30, 14, 20)]
    together = predictor({"text": texts}, task="mood")
    for index, text in enumerate(texts):
        alone = predictor({"text": [text]}, task="mood")
        assert alone["p_low"][0] == pytest.approx(together["p_low"][index], abs=1e-5)


def test_training_without_long_texts_does_not_change(tiny_checkpoint, tiny_files, tmp_path):
    recipe = tiny.write_recipe(tmp_path / "recipe.yaml", tiny_checkpoint, tiny_files)
    losses = []
    for settings in ([], WINDOWS):
        folder = tmp_path / str(len(settings))
        folder.mkdir()
        chosen = load_recipe(str(recipe), ["encoder.dropout=0.3", "curriculum=simultaneous", *settings])
        ready = prepare(chosen, RunFolder(folder), options())
        rows = {task: np.arange(8) for task in ("mood", "same", "near")}
        ready.model.train()
        losses.append([*losses_after(ready.step, rows), *losses_after(ready.step, rows)])
    assert losses[0] == losses[1]


def test_a_resumed_run_is_the_same(recipe, run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    train(recipe, folder, *WINDOWS, *DUAL, "training.epochs=1")
    train(recipe, folder, *WINDOWS, *DUAL, "training.epochs=2", resume=True)
    for path in sorted((run / "model").rglob("*.safetensors")):
        assert path.read_bytes() == (folder / "model" / path.relative_to(run / "model")).read_bytes()


@pytest.mark.parametrize("count", [2, 3])
def test_processes_draw_the_dropout_of_one_process(recipe, tmp_path, count):
    chosen = load_recipe(str(recipe), [*WINDOWS, *DUAL, "tasks.mood.token_dropout=0.2"])
    (tmp_path / "run").mkdir()
    ready = prepare(chosen, RunFolder(tmp_path / "run"), options())
    ready.model.train()
    data = ready.step.pairs._data
    rows = {task: np.arange(9) for task in ("mood", "same", "near")}
    drop = ready.step._token_dropout

    def outputs_of(batch):
        with keyed(11, 5), torch.no_grad():
            return ready.model(drop(batch, 5))

    whole = outputs_of(pack(data, rows))
    lengths = {task: data[task].lengths[own] for task, own in rows.items()}
    for rank in range(count):
        part, _ = deal(lengths, rank, count)
        for task, outputs in outputs_of(pack(data, rows, part=part)).items():
            assert torch.allclose(outputs, whole[task][part[task]], atol=2e-5)


def test_rows_with_too_many_windows_are_counted_and_rejected_if_asked(run, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ("-t", "mood", "--device", "cpu", "--precision", "fp32")
    app(["predict", str(run), str(files / "mood-dev.tsv"), "-o", "out.tsv", *flags], standalone_mode=False)
    note = "1 of 9 rows of task mood were cut after 3 windows of 16 tokens: train with a larger "
    assert f"{note}tasks.mood.windows.most or training.max_length. To reject such rows" in capsys.readouterr().err
    with pytest.raises(Exception, match="mood-dev.tsv:2: is longer than 3 windows of 16 tokens, as task mood reads"):
        app(
            ["predict", str(run), str(files / "mood-dev.tsv"), "-o", "x.tsv", *flags, "--strict-length"],
            standalone_mode=False,
        )
    scores = json.loads((run / "evaluation" / "metrics.json").read_text())["tasks"]
    assert (scores["mood"]["cut"], scores["same"]["cut"]) == (1, 1)


def test_the_card_describes_the_windows(run):
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "training of same: long texts in at most 3 windows that share 4 tokens (max)" in card


def test_the_opening_lists_the_rows_in_windows(recipe, tmp_path, capsys):
    chosen = load_recipe(str(recipe), [*WINDOWS[:1], "training.epochs=1"])
    validate(chosen, tmp_path / "run", options(console=Console()), measure=False)
    err = capsys.readouterr().err
    lines = {line.split(":")[0]: line for line in err.splitlines() if " tokens per row, " in line}
    assert "5.0% cut, 35.0% in windows (at most 3); mid 45%" in lines["mood"]
    assert "in windows" not in lines["same"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["stride=9"], "stride must be at most 8 tokens, half of training.max_length, but is 9"),
        (["stride=-1"], "stride must be at least 0"),
        (["stride=few"], "stride must be a whole number, but is 'few'"),
        (["step=4"], "windows.step is not a known key; did you mean 'stride'? Known: most, pool, stride."),
        (["pool=median"], "windows.pool must be "),
        (["most=0"], "windows.most must be at least 1"),
    ],
)
def test_mistakes_are_reported_with_their_place(recipe, settings, message):
    words = [f"tasks.mood.windows.{each}" for each in settings]
    with pytest.raises(RecipeError) as refusal:
        check_recipe(load_recipe(str(recipe), words))
    assert message in str(refusal.value)
    assert "tasks.mood.windows" in str(refusal.value)


def test_other_mistakes_are_reported_with_their_place(recipe):
    with pytest.raises(RecipeError, match=r"tasks\.mood\.windows must contain keys and values, but is True"):
        load_recipe(str(recipe), ["tasks.mood.windows=true"])
    short = load_recipe(str(recipe), [*WINDOWS[:1], "training.max_length=7"])
    with pytest.raises(RecipeError, match=r"tasks\.mood\.windows needs a training\.max_length of at least 8 tokens"):
        check_recipe(short)
