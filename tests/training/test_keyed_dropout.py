"""Dropout masks do not depend on kernels, padding, or the division of a batch."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import QUIET, train

from mbert_cli.batch import Batch, Layout
from mbert_cli.encoder import padding
from mbert_cli.encoder.dropout import keyed
from mbert_cli.encoder.kernels import NAMES
from mbert_cli.errors import UsageError
from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fingerprint import fingerprint_of
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions

ADAPTERS = {
    "none": "[]",
    "low rank and top": "[{kind: low_rank, rank: 6}, {kind: top}]",
    "pal": "[{kind: pal, rank: 6, heads: 2, init_std: 0.1}]",
    "houlsby": "[{kind: houlsby, rank: 6, init_std: 0.1}]",
    "lora": "[{kind: lora, rank: 4, dropout: 0.3}]",
    "prefix": "[{kind: prefix, length: 3}]",
    "joined prefix": "[{kind: prefix, length: 3, gate: none}]",
}
DROPOUT = ("encoder.dropout=0.3", "tasks.same.head={kind: pair_classification, dropout: 0.4}")


@pytest.fixture
def run_with(tiny_recipe, tmp_path, even_checkpoint):
    """Make a run with dropout at every site."""

    def make(kernels, *settings):
        recipe = json.loads(tiny_recipe.read_text(encoding="utf-8"))
        recipe["encoder"] = {"checkpoint": str(even_checkpoint)}
        path, folder = tmp_path / "even.yaml", tmp_path / kernels
        path.write_text(json.dumps(recipe), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        chosen = RunOptions(choose("cpu", "fp32", kernels), QUIET)
        run = prepare(load_recipe(str(path), [*DROPOUT, *settings]), RunFolder(folder), chosen)
        run.model.train()
        # Up projections start at zero, and adapters would have no effect.
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in run.model.named_parameters():
                if "adapters" in name:
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        return run

    return make


def whole_batch(run):
    return run.step.pairs.pack({"mood": np.arange(8), "same": np.arange(8), "near": np.arange(8)}, 0, "cpu")


def outputs_of(run, batch):
    with keyed(11, 5), torch.no_grad():
        return run.model(batch)


def part_of(batch, run, rows):
    """Pack some of the examples of each task, with their places in the whole batch."""
    part = run.step.pairs.pack(dict.fromkeys(batch.tasks, rows), 0, "cpu")
    chosen, start = [], 0
    for task in batch.tasks:
        for _ in run.model.head(task).sides:
            chosen.append(batch.layout.host_starts[start + rows])
            start += 8
    layout = part.layout
    numbered = Layout(layout.host_lengths, layout.segment_sentences, "cpu", np.concatenate(chosen))
    return replace(part, layout=numbered, places={task: torch.from_numpy(rows) for task in batch.tasks})


@pytest.mark.parametrize("adapters", ADAPTERS)
def test_all_kernels_draw_the_same_masks(run_with, adapters):
    pytest.importorskip("numba")
    found = []
    for kernels in NAMES:
        run = run_with(kernels, f"adapters={ADAPTERS[adapters]}")
        found.append(outputs_of(run, whole_batch(run)))
    for task, expected in found[0].items():
        assert torch.allclose(found[1][task], expected, atol=2e-5)
    with keyed(11, 6), torch.no_grad():
        other = run.model(whole_batch(run))
    assert not torch.allclose(other["mood"], found[1]["mood"], atol=1e-3)


@pytest.mark.parametrize("kernels", NAMES)
@pytest.mark.parametrize("adapters", ADAPTERS)
def test_parts_of_a_batch_draw_the_masks_of_the_whole_batch(run_with, adapters, kernels):
    if kernels == "fused":
        pytest.importorskip("numba")
    run = run_with(kernels, f"adapters={ADAPTERS[adapters]}")
    batch = whole_batch(run)
    whole = outputs_of(run, batch)
    for rows in (np.array([0, 3, 4, 6, 7]), np.array([1, 2, 5])):
        for task, outputs in outputs_of(run, part_of(batch, run, rows)).items():
            assert torch.allclose(outputs, whole[task][rows], atol=2e-5)


@pytest.mark.parametrize("kernels", NAMES)
def test_padding_does_not_change_masks(run_with, monkeypatch, kernels):
    if kernels == "fused":
        pytest.importorskip("numba")
    run = run_with(kernels)
    batch: Batch = whole_batch(run)
    assert batch.layout.num_tokens < padding._MIN_TOKENS
    expected = outputs_of(run, batch)
    monkeypatch.setattr(padding, "_MIN_TOKENS", 1)
    for task, outputs in outputs_of(run, batch).items():
        assert torch.allclose(outputs, expected[task], atol=2e-5)


def test_dropped_tokens_of_a_part_are_those_of_the_whole_batch(run_with):
    run = run_with("torch", "tasks.mood.token_dropout=0.4", "tasks.near.token_dropout=0.2")
    drop, batch = run.step._token_dropout, whole_batch(run)
    whole = drop(batch, 3).token_ids
    assert not torch.equal(whole, batch.token_ids)
    for rows in (np.array([0, 3, 4, 6, 7]), np.array([1, 2, 5])):
        part = part_of(batch, run, rows)
        assert torch.equal(drop(part, 3).token_ids, whole[part.layout.rows])


def test_a_state_from_before_keyed_dropout_is_refused_in_one_line(tiny_recipe, tmp_path, monkeypatch):
    def older(*args):
        return {key: value for key, value in fingerprint_of(*args).items() if key != "dropout"}

    folder = tmp_path / "run"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("mbert_cli.training.fit.fingerprint_of", older)
        train(tiny_recipe, folder, "training.epochs=1")
    with pytest.raises(UsageError, match="dropout was None and is now 'keyed'"):
        train(tiny_recipe, folder, "training.epochs=2", resume=True)
    train(tiny_recipe, folder, "training.epochs=2", resume=True, allow_drift=True)
