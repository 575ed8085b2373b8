"""On a GPU, training pads the numbers of tokens. The padding changes no loss, gradient or dropout mask."""

import numpy as np
import pytest
import tiny
import torch
from tiny_runs import QUIET

from mbert_cli.batch import Batch, Layout
from mbert_cli.data.device_batch import moved
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.machine.hardware import choose
from mbert_cli.machine.process_group import ALONE
from mbert_cli.model.components import load_recipe
from mbert_cli.model.static_shapes import with_dummies, with_dummies_for
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions
from mbert_cli.training.portion import Portion

ADAPTERS = {
    "none": "[]",
    "low rank and top": "[{kind: low_rank, rank: 6, init_std: 0.1}, {kind: top}]",
    "pal": "[{kind: pal, rank: 6, heads: 2, init_std: 0.1}]",
    "houlsby": "[{kind: houlsby, rank: 6, init_std: 0.1}]",
    "lora": "[{kind: lora, rank: 4, dropout: 0.3}]",
    "prefix": "[{kind: prefix, length: 3, gate: none}]",
}


def batch_of(lengths, segments):
    ids = torch.arange(sum(lengths))
    return Batch(ids, ids, ids, Layout(lengths, segments), ("a", "b", "c")[: len(segments)], {})


@pytest.mark.parametrize("tokens", [1, 100, 252, 253, 255, 256, 2750])
def test_few_different_shapes_occur(tokens):
    for each in (False, True):
        layout = with_dummies(batch_of([tokens], [1]), each).layout
        assert layout.num_tokens % 256 == 0
        assert tokens + 4 <= layout.num_tokens < tokens + 4 + 256
        assert (layout.num_sentences, layout.dummies) == (1 + 4, (4,))
        assert layout.host_lengths[1:].max() <= 65


def test_the_stream_is_padded_at_its_end():
    batch = with_dummies(batch_of([100, 20, 300], [1, 2]), each_segment=False)
    assert (batch.layout.segment_tokens, batch.layout.dummies) == ([100, 412], (0, 4))
    assert batch.token_ids.tolist() == [*range(420), *[100] * 92]


def test_each_segment_is_padded_for_adapters():
    batch = with_dummies(batch_of([100, 20, 300], [1, 2]), each_segment=True)
    assert (batch.layout.segment_tokens, batch.layout.dummies) == ([256, 512], (4, 4))
    assert batch.token_ids.tolist() == [*range(100), *[0] * 156, *range(100, 420), *[100] * 192]
    assert batch.layout.numbers[[0, 5, 6]].tolist() == [0, 100, 120]  # places in the batch without padding


@pytest.fixture(scope="module")
def prepared(even_checkpoint, tiny_files, tmp_path_factory):
    """Return a function that returns a run with some adapters, and dropout in the encoder."""
    folder = tmp_path_factory.mktemp("static")
    recipe = tiny.write_recipe(folder / "recipe.yaml", even_checkpoint, tiny_files)
    (folder / "run").mkdir()

    def prepare_with(adapters):
        loaded = load_recipe(str(recipe), [f"adapters={adapters}", "encoder.dropout=0.3"])
        run = prepare(loaded, RunFolder(folder / "run"), RunOptions(choose("cpu", "fp32", "torch"), QUIET))
        run.model.train_only(None)
        run.model.train()
        return run

    return prepare_with


def losses_and_gradients(run, rows, static_shapes):
    run.model.zero_grad()
    (portion,) = run.step.pairs.pack_portions(rows, 3, "cpu", ALONE)
    if static_shapes:
        batch = moved(with_dummies_for(run.model, portion.batch), torch.device("cpu"))
        portion = Portion(batch, batch)
    losses = run.step.update.losses([portion], 3)
    sum(losses.values()).backward()
    gradients = [each.grad.flatten() for each in run.model.parameters() if each.grad is not None]
    return torch.stack(list(losses.values())), torch.cat(gradients)


@pytest.mark.parametrize("adapters", ADAPTERS)
def test_losses_and_gradients_equal_those_of_the_packed_step(prepared, adapters, monkeypatch):
    run, widths = prepared(ADAPTERS[adapters]), []
    layers_over = PackedEncoder.layers_over
    monkeypatch.setattr(
        PackedEncoder, "layers_over", lambda self, ids, *rest: widths.append(len(ids)) or layers_over(self, ids, *rest)
    )
    for size in (3, 8):
        rows = dict.fromkeys(run.model.task_names, np.arange(size))
        (losses, gradients), (expected, packed) = (losses_and_gradients(run, rows, each) for each in (True, False))
        assert torch.allclose(losses, expected, rtol=1e-6, atol=1e-7)
        assert (gradients - packed).norm() <= 1e-6 * packed.norm()
        padded, own = widths[-2:]
        assert (padded % 256, own % 256 == 0) == (0, False)
