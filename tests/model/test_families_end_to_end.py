"""Training, prediction, resuming and export with an encoder of every family."""

import json

import commands
import numpy as np
import onnx_user
import pytest
import tiny
import torch
from crashes import contents, dying_after
from family_models import CASE_OF_FAMILY, reads_types, reference_encoder
from tiny_runs import train
from tokenizer_kinds import byte_pairs, word_pieces
from word_salad import sentences

from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.errors import RecipeError
from mbert_cli.prediction.predictor import Predictor

WORD_PIECES = ("bert", "distilbert", "electra", "ernie", "albert", "nomic_bert")


def recipe_of(family, folder, **changes):
    """Write a recipe of three tiny tasks on a random encoder of a family, with changes of its configuration."""
    checkpoint, files = folder / "checkpoint", folder / "files"
    reference_encoder(CASE_OF_FAMILY[family], vocab_size=300, **changes).save_pretrained(checkpoint)
    (word_pieces if family in WORD_PIECES else byte_pairs)(checkpoint)
    for each in (files, folder / "a", folder / "b"):
        each.mkdir()
    return tiny.write_recipe(folder / "recipe.yaml", checkpoint, tiny.write_files(files))


@pytest.fixture(params=CASE_OF_FAMILY)
def recipe(request, tmp_path):
    return recipe_of(request.param, tmp_path)


def short_texts(seed):
    return [" ".join(text.split()[:2]) for text in sentences(20, seed)]


def predictions(run):
    predictor = Predictor(run, device="cpu", precision="fp32")
    return predictor({"one": short_texts(5), "two": short_texts(6)}, "same")


def test_a_run_is_saved_resumed_and_repeated_with_the_same_bytes(recipe, tmp_path):
    settings = ["training.state_every=2", "tasks.mood.token_dropout=0.2"]
    train(recipe, tmp_path / "a", *settings)
    with dying_after(1, 2):
        train(recipe, tmp_path / "b", *settings)
    train(recipe, tmp_path / "b", *settings, resume=True)
    assert contents(tmp_path / "a" / "model") == contents(tmp_path / "b" / "model")
    assert predictions(tmp_path / "a") == predictions(tmp_path / "b")


def test_the_saved_encoder_is_a_checkpoint_that_transformers_opens(recipe, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    train(recipe, tmp_path / "a", "curriculum=simultaneous", "training.epochs=1")
    folder = tmp_path / "a" / "model" / "encoder"
    family = json.loads((folder / "config.json").read_text())["model_type"]
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    encoder, _ = load_encoder(folder, read_shape(folder))
    text = tokenizer(sentences(1, 9)[0], return_tensors="pt")
    assert ("token_type_ids" in text) == reads_types(CASE_OF_FAMILY[family])
    from mbert_cli.batch import Layout

    ids = text["input_ids"][0]
    with torch.no_grad():
        ours = encoder.eval()(ids, torch.zeros_like(ids), torch.arange(len(ids)), Layout([len(ids)]))
        assert (ours - model(**text).last_hidden_state[0]).abs().max() <= 1e-5


@pytest.mark.parametrize(  # each has a part that others lack
    # ALBERT's graph contains ELECTRA's projection of embeddings.
    "family",
    ["roberta", "albert", "mpnet", "nomic_bert", "modernbert", "deberta-v2"],
)
def test_an_exported_graph_predicts_as_the_model_does(tmp_path, family):
    # The exporter takes seconds for each layer that it traces. A task of pairs traces the encoder once per text.
    settings = ["tasks.same=null", "tasks.near=null", "curriculum=simultaneous", "training.epochs=1"]
    train(recipe_of(family, tmp_path, num_hidden_layers=2), tmp_path / "a", *settings)
    done = commands.mbert("export", "a", "-o", "exported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    texts = short_texts(5)
    by_graph = onnx_user.predict(tmp_path / "exported", "mood", [[text] for text in texts])
    by_model = Predictor(tmp_path / "a", device="cpu", precision="fp32")({"text": texts}, "mood")
    expected = np.array([by_model[f"p_{label}"] for label in ("low", "mid", "high")]).T
    assert np.ptp(expected, axis=0).max() > 0.01  # the texts have different predictions
    assert np.abs(by_graph - expected).max() <= 1e-4


@pytest.mark.parametrize("family", ["distilbert", "electra", "modernbert"])
def test_a_pooler_that_the_encoder_lacks_is_refused(tmp_path, family):
    recipe = recipe_of(family, tmp_path)
    with pytest.raises(RecipeError, match=rf"pooler is true, but an encoder of the family {family} has no pooler"):
        train(recipe, tmp_path / "a", "pooling={kind: cls, pooler: true}")


@pytest.mark.parametrize("family", ["roberta", "albert", "mpnet"])
def test_a_pooler_is_used_where_there_is_one(tmp_path, family):
    train(recipe_of(family, tmp_path), tmp_path / "a", "pooling={kind: cls, pooler: true}", "training.epochs=1")


def test_a_sentence_may_be_as_long_as_the_positions_allow(tmp_path):
    recipe = recipe_of("roberta", tmp_path)  # 34 rows, the first two of which are not for tokens
    train(recipe, tmp_path / "a", "training.max_length=32", "training.epochs=1")
    with pytest.raises(RecipeError, match="training.max_length must be at most 32, the encoder's positions"):
        train(recipe, tmp_path / "b", "training.max_length=33", "training.epochs=1")


def test_some_layers_of_an_encoder_that_shares_them_cannot_be_reinitialised(tmp_path):
    recipe = recipe_of("albert", tmp_path)
    train(recipe, tmp_path / "a", "encoder.reinitialise=all", "training.epochs=1")
    with pytest.raises(RecipeError, match="encoder.reinitialise must be 0 or all: the layers of albert share"):
        train(recipe, tmp_path / "b", "encoder.reinitialise=1", "training.epochs=1")
