import numpy as np
import pytest
import torch
from tiny_runs import QUIET, options

from mbert_cli.data.batching import pack
from mbert_cli.errors import RecipeError
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import encoder_shape
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.training.datasets import read_training_examples, tokenise_examples
from mbert_cli.training.fit import fit
from mbert_cli.training.token_dropout import TokenDropout


@pytest.fixture
def given(tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), [])
    data, tokenizer = tokenise_examples(
        recipe, read_training_examples(recipe, None, QUIET), encoder_shape(recipe.encoder), QUIET
    )
    rows = {"mood": np.arange(20), "same": np.arange(30)}
    return pack(data.train, rows), tokenizer


def test_a_share_of_a_tasks_tokens_is_masked_and_nothing_else_changes(given):
    batch, tokenizer = given
    mask, special = tokenizer.mask_id, tokenizer.frame_ids
    dropout = TokenDropout({"mood": 0.3, "near": 0.5}, tokenizer, seed=1)
    before, mood = batch.token_ids, batch.layout.segment_tokens[0]
    words = ~torch.isin(before, torch.tensor(special))
    counts = 0
    for step in range(50):
        after = dropout(batch, step).token_ids
        changed = after != before
        assert bool((after[changed] == mask).all())
        assert not changed[~words].any()
        assert not changed[mood:].any()
        counts += int(changed.sum())
    assert counts / (50 * int(words[:mood].sum())) == pytest.approx(0.3, abs=0.03)


def test_the_masked_tokens_depend_only_on_seed_and_step(given):
    batch, tokenizer = given
    first, second, other = (TokenDropout({"same": 0.3}, tokenizer, seed) for seed in (1, 1, 2))
    assert torch.equal(first(batch, 7).token_ids, second(batch, 7).token_ids)
    assert not torch.equal(first(batch, 7).token_ids, first(batch, 8).token_ids)
    assert not torch.equal(first(batch, 7).token_ids, other(batch, 7).token_ids)


def test_a_batch_without_tasks_with_token_dropout_does_not_change(given):
    batch, tokenizer = given
    assert TokenDropout({"near": 0.3, "mood": 0.0}, tokenizer, 1)(batch, 0) is batch


def test_it_changes_training_and_a_repeated_run_is_the_same(tiny_recipe, tmp_path):
    def losses(name, *settings):
        folder = RunFolder(tmp_path / name)
        with locked(folder):
            fit(load_recipe(str(tiny_recipe), settings), folder, options())
        return [line.train_loss for line in folder.read_metrics()]

    plain, once, again = (
        losses("a"),
        losses("b", "tasks.mood.token_dropout=0.4"),
        losses("c", "tasks.mood.token_dropout=0.4"),
    )
    assert once == again
    assert once[0]["mood"] != plain[0]["mood"]
    assert once[0]["same"] == plain[0]["same"]  # in the first epoch tasks train separately


def test_features_of_changing_sentences_cannot_be_cached(tiny_recipe, tmp_path):
    settings = ["adapters=[top]", "training.freeze_encoder=true", "training.cache_features=true"]
    recipe = load_recipe(str(tiny_recipe), [*settings, "tasks.mood.token_dropout=0.1"])
    folder = RunFolder(tmp_path / "run")
    with locked(folder), pytest.raises(RecipeError, match="token_dropout changes sentences at every step"):
        fit(recipe, folder, options())
