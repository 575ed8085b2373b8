"""The number of operations that a training step launches."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from tiny_runs import QUIET

from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from count_operations import Operations

pytest.importorskip("numba")
ROWS = {"mood": np.arange(8), "same": np.arange(8), "near": np.arange(8)}
LAYERS = 2


def test_operations_are_counted_forward_and_backward_without_views():
    x = torch.ones(3, 2, requires_grad=True)
    with Operations() as operations:
        (x.t() @ x.view(3, 2)).sum().backward()
    # One product forward and one for each of its two factors backward.
    assert operations.products == 3
    assert operations.counts["sum"] == 1
    assert not {"t", "view", "expand", "transpose"} & set(operations.counts)


@pytest.fixture(scope="module")
def operations_of(even_checkpoint, tiny_files, tmp_path_factory):
    """Return a function that counts the operations of the second step with some adapters."""
    folder = tmp_path_factory.mktemp("operations")
    recipe = tiny.write_recipe(folder / "recipe.yaml", even_checkpoint, tiny_files)
    (folder / "run").mkdir()

    def count(adapters):
        chosen = RunOptions(choose("cpu", "bf16", "fused"), QUIET)
        run = prepare(load_recipe(str(recipe), [f"adapters={adapters}"]), RunFolder(folder / "run"), chosen)
        run.model.train_only(None)
        run.step(ROWS)
        with Operations() as operations:
            run.step(ROWS)
        return operations

    return count


def test_an_encoder_layer_has_twelve_products(operations_of):
    # Four linear layers, each with a product forward and two backward. The heads have one, one and two linear layers.
    operations = operations_of("[]")
    assert operations.products == 12 * LAYERS + 3 * (1 + 1 + 2)
    assert operations.total < 150
