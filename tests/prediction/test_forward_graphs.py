"""Small batches as CUDA graphs equal those without, bit for bit; on a CPU with a stand-in for CUDA graphs."""

import io
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from cpu_graphs import gpu_predictions
from random_models import untrained
from word_salad import sentences

from mbert_cli import Predictor
from mbert_cli.data.table import Table
from mbert_cli.heads.cosine_similarity import CosineSimilarity
from mbert_cli.model.ensemble import Ensemble
from mbert_cli.model.lazy_model import LazyMultiTaskBert
from mbert_cli.prediction import forward_graphs, predict_table
from mbert_cli.prediction.forward import Forward
from mbert_cli.prediction.output_formats import TextTable

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from ours import count_tokenised

PAIRS = "tasks.same.head={kind: classification, num_classes: 2}"  # both texts in one sequence
SYMMETRIC = "tasks.same.symmetric=true"


@pytest.fixture(scope="module")
def model_of(even_checkpoint, tiny_files, tmp_path_factory):
    """Return a function that returns a model with some settings, and with random adapters and heads."""
    recipe = tiny.write_recipe(tmp_path_factory.mktemp("graphs") / "recipe.yaml", even_checkpoint, tiny_files)

    def random_model(*settings, seed=1):
        saved, generator = untrained(recipe, "training.max_length=30", *settings), torch.Generator().manual_seed(seed)
        for name in saved.model.task_names:
            for parameter in saved.model.task(name).parameters():
                parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        return saved

    return random_model


def lazy(saved):
    """Return a saved model that reads each task when it is first used, as those of `read_model`."""
    whole = saved.model
    return replace(saved, model=LazyMultiTaskBert(whole.encoder, whole.pooling, whole.task_names, whole.task))


def predictor_of(saved, graphs=True, precision="fp32", device="cpu", **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbert_cli.prediction.predictor.read_model", lambda *_: saved)
        kernels = "torch" if device == "cpu" else "fused"
        predictor = Predictor("made up", device=device, precision=precision, kernels=kernels, **options)
    if graphs is False:
        predictor.outputs.graphs.run_without_graphs()
    return predictor


def columns(count, seed):
    return {name: sentences(count, seed + i, longest=12) for i, name in enumerate(("text", "one", "two"))}


def predictions(predictor, sizes, tasks=("mood", "same", "near")):
    """Return the predictions of several calls, with other texts in each."""
    return [predictor(columns(size, 10 * i), task=task) for i, size in enumerate(sizes) for task in tasks]


def assert_same_bits(saved, given, compute=predictions, **options):
    """Predict without and with graphs, and compare; return the stand-in for the graphs, and the results."""
    with gpu_predictions() as made:
        expected, found = (compute(predictor_of(saved, graphs, **options), given) for graphs in (False, True))
    without, stand_in = made
    assert (without.replays, without.captured) == (0, [])
    assert found == expected
    return stand_in, found


def of_mood(predictor, sizes):
    return predictions(predictor, sizes, ["mood"])


def test_repeated_and_new_shapes_of_several_tasks_have_the_same_bits(model_of):
    # Three tasks. Rounded up, there are 1, 2 and 4 examples. Their first batches run without graphs.
    sizes, saved = [3, 1, 4, 2, 1, 3, 1], lazy(model_of())
    stand_in, found = assert_same_bits(saved, sizes)
    assert (len(stand_in.captured), stand_in.replays) == (3 * 2, 3 * (len(sizes) - 3))
    unpadded = predictions(predictor_of(saved, None), sizes)
    for one, other in zip(found, unpadded, strict=True):
        name = "p_low" if "p_low" in one else "score"
        assert one[name] == pytest.approx(other[name], abs=1e-5)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"fold": True}])
def test_symmetric_pairs_in_one_sequence_have_the_same_bits(model_of, options):
    saved = model_of(PAIRS, SYMMETRIC, "adapters=[lora, {kind: houlsby, rank: 4}]")
    stand_in, (one, *_) = assert_same_bits(saved, [2, 2, 2], lambda *each: predictions(*each, ["same"]), **options)
    assert stand_in.replays == 2
    with gpu_predictions():
        texts = columns(2, 0)
        swapped = predictor_of(saved, **options)(texts | {"one": texts["two"], "two": texts["one"]}, task="same")
    assert swapped["p_1"] == pytest.approx(one["p_1"], abs=1e-2 if "precision" in options else 1e-6)


def test_an_ensemble_has_the_same_bits(model_of):
    members = [model_of(seed=seed) for seed in (1, 2)]
    saved = replace(members[0], model=Ensemble([each.model for each in members]))
    stand_in, _ = assert_same_bits(saved, [3, 4, 3], of_mood)
    assert stand_in.replays == 2


def test_vectors_have_the_same_bits(model_of):
    def embed(predictor, sizes):
        return [predictor.embed(sentences(size, size), "near").tolist() for size in sizes]

    stand_in, _ = assert_same_bits(model_of(), [3, 4, 3, 1], embed)
    assert stand_in.replays == 2


def test_a_result_is_copied_before_another_graph_overwrites_it(model_of):
    """The results of all batches are joined at the end of a call. A replay overwrites the memory of all graphs."""
    stand_in, (found, *_) = assert_same_bits(model_of(), [21], of_mood, batch_size=4)
    assert stand_in.replays == 4  # of five batches of four rows; the last row is a batch by itself
    assert np.isfinite(found["p_low"]).all()
    assert len(set(found["p_low"])) > 15


def test_threads_of_a_program_do_not_overwrite_each_others_results(model_of):
    with gpu_predictions(), ThreadPoolExecutor(4) as threads:
        predictor = predictor_of(model_of())
        expected = [predictor(columns(3, seed), task="mood") for seed in range(12)]
        found = list(threads.map(lambda seed: predictor(columns(3, seed), task="mood"), range(12)))
    assert found == expected


def test_a_file_that_is_predicted_in_three_threads_has_the_same_bytes(model_of, tmp_path, monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 3)
    monkeypatch.setattr(predict_table, "_overlap", lambda *_: True)
    path = tmp_path / "in.tsv"
    path.write_text("text\n" + "\n".join(sentences(20, 4)) + "\n")

    def write(predictor, path):
        out = io.StringIO()
        with Table(str(path)) as table:
            writer = TextTable("-").writer(out, predictor, table, ["mood"])
            list(predict_table.predict_table(predictor, table, ["mood"], writer))
        return out.getvalue()

    stand_in, written = assert_same_bits(model_of(), path, write)
    assert stand_in.replays == 5  # of seven windows; the last one has two rows
    assert len(written.splitlines()) == 21


def test_larger_batches_and_shapes_beyond_the_largest_number_run_without_graphs(model_of, monkeypatch):
    monkeypatch.setattr(forward_graphs, "_MOST_GRAPHS", 1)
    stand_in, _ = assert_same_bits(model_of(), [1, 1, 4, 4, 4, 1], of_mood)
    assert (len(stand_in.captured), stand_in.replays) == (1, 2)
    monkeypatch.setattr(forward_graphs, "_MOST_TOKENS", 127)  # a batch has at least 128
    stand_in, found = assert_same_bits(model_of(), [1, 1, 1], of_mood)
    assert stand_in.captured == []
    predictor = predictor_of(model_of(), None)
    assert predictor.outputs.graphs is None  # on a CPU
    with gpu_predictions():
        assert found == of_mood(predictor, [1, 1, 1])


def test_a_larger_batch_waits_for_the_small_ones_of_other_threads(model_of, monkeypatch):
    """A warm-up on the side stream may still be writing copies of weights that the larger batch would read."""
    monkeypatch.setattr(forward_graphs, "_MOST_TOKENS", 0)
    with gpu_predictions() as made:
        predictor = predictor_of(model_of())
        turns = []
        predictor.saved.model.register_forward_pre_hook(lambda *_: turns.append(made[0].turn().locked()))
        of_mood(predictor, [2])
    assert turns == [True]


def test_prediction_continues_without_graphs_if_a_batch_cannot_be_captured(model_of, monkeypatch, caplog):
    forward = CosineSimilarity.forward

    def reading(*given):
        value = forward(*given)
        return value if value.isfinite().all() else value * 0

    monkeypatch.setattr(CosineSimilarity, "forward", reading)
    caplog.set_level(logging.DEBUG, "mbert_cli")
    stand_in, _ = assert_same_bits(model_of(), [2, 2, 2], lambda *each: predictions(*each, ["mood", "near"]))
    assert stand_in.replays == 1  # of the other task, before the failure
    assert (
        caplog.text.count("prediction continues without CUDA graphs: a batch cannot be captured: RuntimeError: ") == 1
    )


def test_graphs_are_captured_again_after_the_weights_have_changed(model_of):
    def compute(predictor, sizes):
        weight, results = predictor.saved.model.encoder.layers[0].output.weight, []
        with torch.no_grad():
            before = weight.clone()
            for size in sizes:
                results.append(predictions(predictor, [size], ["near"]))
                weight.mul_(1.5)
            weight.copy_(before)
        return results

    # bf16 copies of the weights become outdated.
    stand_in, found = assert_same_bits(model_of(), [4] * 4, compute, precision="bf16")
    assert stand_in.captured == []
    assert len({str(each) for each in found}) == 4

    def compute_then_move(predictor, sizes):
        results = predictions(predictor, sizes, ["near"])
        for parameter in predictor.saved.model.parameters():
            parameter.data = parameter.data.clone()
        return results + predictions(predictor, sizes, ["near"])

    stand_in, _ = assert_same_bits(model_of(), [4] * 3, compute_then_move)
    assert (len(stand_in.captured), stand_in.replays) == (2, 4)


def test_a_batch_with_a_text_of_several_windows_runs_without_a_graph(model_of):
    def compute(predictor, sizes):
        texts = [["cat " * 40, "dog"], ["cat", "dog"]]
        return [predictor(each, task="mood") for _ in sizes for each in texts]

    stand_in, _ = assert_same_bits(model_of("tasks.mood.windows={stride: 2}"), [1, 2, 3], compute)
    assert (len(stand_in.captured), stand_in.replays) == (1, 2)


def test_the_reason_why_a_task_is_predicted_without_graphs_is_a_detail(model_of, caplog):
    caplog.set_level(logging.DEBUG, "mbert_cli")
    saved = model_of("adapters=[{kind: prefix}]")
    with gpu_predictions() as made:
        of_mood(predictor_of(saved), [2, 2, 2])
    assert made[0].captured == []
    reason = "predicting task mood without CUDA graphs: the adapters of tasks.mood have prefixes"
    assert [each.levelname for each in caplog.records if each.message == reason] == ["DEBUG"]


def test_a_model_that_has_been_moved_to_another_device_is_predicted_there_without_graphs(model_of, monkeypatch):
    devices = []
    pack = forward_graphs.pack

    def watched(examples, rows, device):
        devices.append(device.type)
        return pack(examples, rows)

    with gpu_predictions():
        predictor = predictor_of(model_of())
        graphs, forward = predictor.outputs.graphs, Forward(predictor.saved.model, "mood")
        assert graphs._why_not(forward) is None
        predictor.saved.model.to("meta")
        assert graphs._why_not(forward) == "the model has been moved to meta"
        monkeypatch.setattr(forward_graphs, "pack", watched)
        monkeypatch.setattr(Forward, "__call__", lambda self, batch: torch.ones(1))
        graphs(forward, predictor.tokenise([["a"]], "mood"), np.arange(1))
    assert devices == ["meta"]


def test_benchmarks_count_texts_and_tokens_without_dummies(model_of):
    with gpu_predictions():
        predictor = predictor_of(model_of())
        work = count_tokenised(predictor)
        predictions(predictor, [3, 3, 3], ["near"])
    words = [len(text.split()) for call in range(3) for name in ("one", "two") for text in columns(3, 10 * call)[name]]
    assert work == {"sentences": 18, "tokens": sum(words) + 2 * 18}


# On a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_small_batches_on_a_gpu_have_the_same_bits(model_of, precision):
    sizes, results = [1, 2, 3, 4, 4, 3, 1, 5, 8, 1], []
    for graphs in (False, True):
        predictor = predictor_of(model_of(), graphs, precision, "cuda")
        vectors = [predictor.embed(sentences(size, size), "mood").tolist() for size in sizes]
        results.append((predictions(predictor, sizes), vectors))
    assert predictor.outputs.graphs.problem is None
    assert sum(shape.replay is not None for shape in predictor.outputs.graphs._shapes.values()) == 4 * 3
    assert results[0] == results[1]


@pytest.mark.gpu
def test_threads_with_streams_of_their_own_get_the_same_bits(model_of):
    predictor = predictor_of(model_of(), device="cuda")
    expected = [predictor(columns(3, seed), task="mood") for seed in range(40)]

    def predict(seed):
        with torch.cuda.stream(torch.cuda.Stream()):
            return predictor(columns(3, seed), task="mood")

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(predict, range(40))) == expected
