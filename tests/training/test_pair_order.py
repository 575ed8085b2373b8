"""Random order of the two texts of a pair."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import QUIET, options
from word_salad import sentences

from mbert_cli.data.batching import pack, tokenise_texts
from mbert_cli.errors import RecipeError
from mbert_cli.evaluation.options import EvaluationFiles
from mbert_cli.evaluation.run_outcomes import run_outcomes
from mbert_cli.export import onnx as export
from mbert_cli.model.components import load_recipe
from mbert_cli.model.compose import encoder_shape
from mbert_cli.model.saved_model import read_model
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.run_model import run_model
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.datasets import read_training_examples, tokenise_examples
from mbert_cli.training.fit import fit
from mbert_cli.training.pair_order import PairOrder

# Heads whose output depends on the order: through the sequence of both texts, and through [u, v].
SYMMETRIC = (
    "tasks.near.head={kind: dual_similarity, late_interaction: true}",
    "tasks.near.symmetric=true",
    "tasks.same.symmetric=true",
    "training.epochs=1",
)


@pytest.fixture
def train_data(tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), SYMMETRIC)
    examples = read_training_examples(recipe, None, QUIET)
    return tokenise_examples(recipe, examples, encoder_shape(recipe.encoder), QUIET)[0].train


def train(recipe, folder, *settings):
    folder.mkdir()
    fit(load_recipe(str(recipe), settings), RunFolder(folder), options())
    return folder


def test_a_soft_label_stays_with_its_pair(train_data):
    near = train_data["near"]
    soft = near.labels[:, None] / 5
    pairs = PairOrder({"near": replace(near, soft=soft), "mood": train_data["mood"]}, seed=1)
    for step in range(10):
        batch = pairs.pack({"mood": np.array([0]), "near": np.array([3, 0, 11])}, step, "cpu")
        assert set(batch.soft) == {"near"}
        assert torch.equal(batch.soft["near"], torch.from_numpy(soft[[3, 0, 11]]))


def test_about_half_of_the_pairs_are_swapped_and_other_tasks_are_not(train_data):
    pairs, rows = PairOrder(train_data, seed=1), {"mood": np.arange(20), "near": np.arange(12)}
    kept, swapped = (
        pack({"near": each}, {"near": rows["near"]}) for each in (train_data["near"], train_data["near"].swapped)
    )
    ways = [
        [own.tolist() for own in each.token_ids.split(each.layout.host_lengths.tolist())] for each in (kept, swapped)
    ]
    moved = 0
    for step in range(40):
        batch = pairs.pack(rows, step, "cpu")
        mood, near = batch.token_ids.split(batch.layout.segment_tokens)
        assert torch.equal(mood, pack(train_data, {"mood": rows["mood"]}).token_ids)
        found = [own.tolist() for own in near.split(batch.layout.host_lengths[20:].tolist())]
        assert torch.equal(batch.labels["near"], kept.labels["near"])
        for row in range(12):
            # All sequences of a pair (first text, second text, both) have the same order.
            read = [found[row + 12 * side] for side in range(3)]
            orders = [[way[row + 12 * side] for side in range(3)] for way in ways]
            assert read in orders
            moved += read == orders[1]
    assert 0.4 < moved / (40 * 12) < 0.6


def test_the_order_depends_only_on_seed_and_step(train_data):
    rows = {"near": np.arange(12)}

    def drawn(seed, step):
        return PairOrder(train_data, seed).pack(rows, step, "cpu").token_ids.tolist()

    assert drawn(1, 5) == drawn(1, 5)
    assert drawn(1, 5) != drawn(1, 6)
    assert drawn(1, 5) != drawn(2, 5)


def test_a_prediction_is_the_mean_over_both_orders(tiny_recipe, tmp_path):
    run = train(tiny_recipe, tmp_path / "run", *SYMMETRIC, "training.max_length=48")
    one, two = sentences(25, 2), sentences(25, 3)
    both = Predictor(run, device="cpu", precision="fp32")
    means = {task: both.predict([one, two], task)["score"] for task in ("same", "near")}
    for task, mean in means.items():
        assert mean == pytest.approx(both.predict([two, one], task)["score"], abs=1e-6)
    model, tokenizer = both.saved.model, both.saved.tokenizer
    for task, mean in means.items():
        head = model.head(task)
        forth, back = (
            run_model(model, task, tokenise_texts(tokenizer, each, head.sides, symmetric=False))
            for each in ([one, two], [two, one])
        )
        assert (forth - back).abs().max() > 1e-4
        assert mean == pytest.approx(head.predict((forth + back) / 2)["score"], abs=1e-5)


def test_only_sequences_of_both_texts_are_also_read_in_the_other_order(tiny_recipe, tmp_path, monkeypatch):
    saved = read_model(train(tiny_recipe, tmp_path / "run", *SYMMETRIC))
    read, forward = [], type(saved.model).forward

    def counted(model, batch, both_orders):
        read.append(batch.layout.num_tokens)
        return forward(model, batch, both_orders)

    monkeypatch.setattr(type(saved.model), "forward", counted)
    for task, sides_read_again in (("same", ()), ("near", (2,))):
        sides = saved.model.head(task).sides
        data = tokenise_texts(saved.tokenizer, [sentences(9, 2), sentences(9, 3)], sides, symmetric=True)
        read.clear()
        run_model(saved.model, task, data)
        tokens = [int(side.lengths.sum()) for side in data.sides]
        assert sum(read) == sum(tokens) + sum(tokens[side] for side in sides_read_again)


def test_evaluation_reads_both_orders_like_training(tiny_recipe, tmp_path):
    run = train(tiny_recipe, tmp_path / "run", *SYMMETRIC)
    found = run_outcomes(Predictor(run, device="cpu", precision="fp32"), EvaluationFiles(), QUIET).evaluation()
    (line,) = RunFolder(run).read_metrics()
    for task in ("same", "near"):
        assert found.metrics["tasks"][task]["loss"] == pytest.approx(line.tasks[task]["loss"], rel=1e-5)


def test_an_export_reports_that_its_graph_reads_one_order(tiny_recipe, tmp_path):
    saved = read_model(train(tiny_recipe, tmp_path / "run", *SYMMETRIC))
    assert export._description(saved, "near")["symmetric"] is True
    assert "symmetric" not in export._description(saved, "mood")


def test_a_repeated_run_is_the_same_and_differs_from_a_run_without_swaps(tiny_recipe, tmp_path):
    runs = [train(tiny_recipe, tmp_path / name, *SYMMETRIC) for name in "ab"]
    without = train(tiny_recipe, tmp_path / "c", *SYMMETRIC, "tasks.near.symmetric=false")
    one, other, plain = (RunFolder(run).read_metrics()[0].train_loss for run in (*runs, without))
    assert one == other
    assert one["mood"] == plain["mood"]
    assert one["near"] != plain["near"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tasks.mood.symmetric=true"], "tasks.mood.symmetric is true, but the task reads one text"),
        (
            ["adapters=[top]", "training.freeze_encoder=true", "training.cache_features=true", SYMMETRIC[2]],
            "tasks.same.symmetric is true, but hidden states are cached for one order only",
        ),
    ],
)
def test_a_recipe_that_cannot_use_symmetric_is_refused(tiny_recipe, tmp_path, settings, message):
    with pytest.raises(RecipeError, match=message):
        train(tiny_recipe, tmp_path / "run", *settings)
    assert not list((tmp_path / "run").iterdir())


def test_the_default_is_one_order(tiny_recipe):
    recipe = json.loads(tiny_recipe.read_text())
    assert "symmetric" not in recipe["tasks"]["same"]
    assert not load_recipe(str(tiny_recipe), []).tasks["same"].symmetric
