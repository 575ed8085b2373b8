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
SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2}  # smaller gradients are copied
HEADS = 3 * (1 + 1 + 2)
OTHERS = 60
ON_TOP = 5
"""Splitting the tasks and joining them, and the sums of two gradients of each task."""


def test_operations_are_counted_forward_and_backward_without_views():
    x = torch.ones(3, 2, requires_grad=True)
    with Operations() as operations:
        (x.t() @ x.view(3, 2)).sum().backward()
    # One product forward and one for each of its two factors backward.
    assert operations.products == 3
    assert operations.counts["sum"] == 1
    assert not {"t", "view", "expand", "transpose"} & set(operations.counts)


@pytest.fixture(scope="module")
def operations_of(tiny_files, tmp_path_factory):
    """Return a function that counts the operations of the second step with some layers and adapters."""

    def count(layers, adapters):
        folder = tmp_path_factory.mktemp("operations")
        checkpoint = tiny.write_checkpoint(folder / "encoder", **SIZES, num_hidden_layers=layers)
        recipe = tiny.write_recipe(folder / "recipe.yaml", checkpoint, tiny_files)
        (folder / "run").mkdir()
        chosen = RunOptions(choose("cpu", "bf16", "fused"), QUIET)
        run = prepare(load_recipe(str(recipe), [f"adapters={adapters}"]), RunFolder(folder / "run"), chosen)
        run.model.train_only(None)
        run.step(ROWS)
        with Operations() as operations:
            run.step(ROWS)
        return operations

    return count


@pytest.mark.parametrize("layers", [2, 3])
def test_only_the_products_grow_with_the_number_of_layers(operations_of, layers):
    # Four linear layers, each with a product forward and two backward. The heads have one, one and two linear layers.
    operations = operations_of(layers, "[]")
    assert operations.products == 12 * layers + HEADS
    assert operations.total - operations.products <= OTHERS


def test_low_rank_adapters_of_all_tasks_are_multiplied_together(operations_of):
    operations = operations_of(2, "[{kind: low_rank, rank: 4}]")
    # Two linear layers, each with a product forward and two backward.
    assert operations.products == (12 + 6) * 2 + HEADS
    # In each layer, one copy of the gradients to fp32, and one sum of the gradients of the layer's input.
    assert operations.total - operations.products <= OTHERS + 2 * 2 + 1


def test_top_layers_multiply_each_task_by_itself(operations_of):
    operations = operations_of(2, "[{kind: low_rank, rank: 4}, {kind: top}]")
    assert operations.products == (12 + 6) * 2 + 12 * 3 + HEADS
    assert operations.total - operations.products <= OTHERS + 2 * 2 + 1 + ON_TOP
