"""The number of operations that a training step launches."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from cpu_graphs import gpu_steps
from tiny_runs import QUIET

from mbert_cli.encoder.kernels import bf16_products
from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from count_operations import Operations, counting_replays

pytest.importorskip("numba")
ROWS = {"mood": np.arange(8), "same": np.arange(8), "near": np.arange(8)}
SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2}  # smaller gradients are copied
LOW_RANK_TOP = "[{kind: low_rank, rank: 4}, {kind: top}]"
HEADS = 3 * (1 + 1 + 2)
OTHERS = 60
"""Heads and losses of three tasks with their gradients, clipping, the update of weights, and their copies in bf16."""
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


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)])
def test_a_product_in_bf16_is_one_operation_on_every_machine(shape):
    """On a CPU without instructions for bf16, its factors are converted."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).bfloat16()
    out = torch.empty_like(x)
    with Operations() as operations:
        y = bf16_products.matmul(x, x)
        if len(shape) == 2:
            bf16_products.mm(x, x, out)
    assert dict(operations.counts) == ({"mm": 2} if len(shape) == 2 else {"bmm": 1})
    assert torch.equal(y, (x.double() @ x.double()).bfloat16())
    assert len(shape) == 3 or torch.equal(y, out)


@pytest.fixture(scope="module")
def run_of(tiny_files, tmp_path_factory):
    """Return a function that returns a run in bf16 with some layers and adapters."""

    def prepared(layers, adapters, kernels="fused"):
        folder = tmp_path_factory.mktemp("operations")
        checkpoint = tiny.write_checkpoint(folder / "encoder", **SIZES, num_hidden_layers=layers)
        recipe = tiny.write_recipe(folder / "recipe.yaml", checkpoint, tiny_files)
        (folder / "run").mkdir()
        chosen = RunOptions(choose("cpu", "bf16", kernels), QUIET)
        run = prepare(load_recipe(str(recipe), [f"adapters={adapters}"]), RunFolder(folder / "run"), chosen)
        run.model.train_only(None)
        return run

    return prepared


def operations_of(run):
    """Return the operations of the second step."""
    run.step(ROWS)
    with Operations() as operations:
        run.step(ROWS)
    return operations


@pytest.mark.parametrize("layers", [2, 3])
def test_only_the_products_grow_with_the_number_of_layers(run_of, layers):
    # Four linear layers, each with a product forward and two backward. The heads have one, one and two linear layers.
    operations = operations_of(run_of(layers, "[]"))
    assert operations.products == 12 * layers + HEADS
    assert operations.total - operations.products == OTHERS


def test_low_rank_adapters_of_all_tasks_are_multiplied_together(run_of):
    operations = operations_of(run_of(2, "[{kind: low_rank, rank: 4}]"))
    # Two linear layers, each with a product forward and two backward.
    assert operations.products == (12 + 6) * 2 + HEADS
    # In each layer, one copy of the gradients to fp32, and one sum of the gradients of the layer's input.
    assert operations.total - operations.products == OTHERS + 2 * 2 + 1


def test_top_layers_multiply_each_task_by_itself(run_of):
    operations = operations_of(run_of(2, LOW_RANK_TOP))
    assert operations.products == (12 + 6) * 2 + 12 * 3 + HEADS
    assert operations.total - operations.products == OTHERS + 2 * 2 + 1 + ON_TOP


def test_a_replayed_step_has_six_operations(run_of):
    with gpu_steps() as graphs:
        run = run_of(2, LOW_RANK_TOP, "torch")
        for _ in range(2):
            run.step(ROWS)
        replayed, eager = Operations(), Operations()
        with counting_replays(replayed, *graphs):
            run.step(ROWS)
        with counting_replays(eager, *graphs):
            run.step({task: rows[:3] for task, rows in ROWS.items()})  # another shape
        run.step.read()
    # Dummy texts, on the CPU; one copy to the GPU; the graph; one copy of the losses to the CPU.
    assert dict(replayed.counts) == {"index_select": 3, "copy_": 1, "replayed graph": 1, "_to_copy": 1}
    assert eager.counts["replayed graph"] == 0
    assert eager.products >= (12 + 6) * 2 + HEADS
