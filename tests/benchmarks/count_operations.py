"""Count PyTorch's operations in a training step: for a GPU, the CPU launches each of them.

    python tests/benchmarks/count_operations.py

It takes a few steps on a CPU, with random weights and made-up sentences, and counts the operations of the last step:
forward pass, backward pass and update. It does not count operations that launch nothing, such as views and allocations,
or loops that Numba compiles: for each of those, a GPU launches a Triton kernel. One product for several tasks counts
once, because a GPU launches it once; a CPU divides it by task.

It also counts the operations of a step that replays a CUDA graph, with a stand-in for such graphs on a CPU, and those
of a small batch of a prediction, without and with a graph.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import contest
import made_up_course
import torch
from encoders import shape_of, write_random_encoder
from torch.utils._python_dispatch import TorchDispatchMode
from workload import course_steps

from mbert_cli.encoder.kernels import bf16_products

sys.path.insert(0, str(Path(__file__).parents[1]))  # for cpu_graphs.py

from cpu_graphs import gpu_predictions, gpu_steps

PRODUCTS = ("mm", "addmm", "bmm", "_grouped_mm")
LAUNCH_NOTHING = ("new_empty", "_unsafe_view", "is_coalesced", "_sparse_coo_tensor_with_dims_and_tensors")
"""Operations that only allocate memory or describe tensors."""
CASES = {
    "minilm": ("minilm-random", []),
    "bert-base": ("bert-base", []),
    "minilm-low-rank-top": ("minilm-random", [{"kind": "low_rank"}, {"kind": "top"}]),
}
"""The encoder and the adapters of each case; all parameters train."""
KERNELS = ("fused", "torch")
_STEPS = 3  # the first steps create the state of the optimizer
_ROWS = 120  # of each made-up file
_ROWS_OF_REPLAYED_STEP = 2  # of each task


class Operations(TorchDispatchMode):
    """Counts the operations within its block, forward and backward, without those that launch nothing.

    The counts are the same on every machine. On a CPU without instructions for bf16, mbert converts the factors of
    products to fp32. Within the block, this class does that instead, and does not count the conversions.

    Attributes:
        counts: number of calls of each operation, by its name without overload.
    """

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __enter__(self):
        """Begin to count."""
        self._converts = not bf16_products._are_fast()
        self._patch = mock.patch.object(bf16_products, "_are_fast", return_value=True)
        self._patch.start()
        return super().__enter__()

    def __exit__(self, *error):
        """Stop counting."""
        super().__exit__(*error)
        self._patch.stop()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        """Count an operation and call it."""
        name = operation.overloadpacket.__name__
        if operation.namespace == "aten" and not operation.is_view and name not in LAUNCH_NOTHING:
            self.counts[name] += 1
        call = _in_fp32 if self._converts and name in PRODUCTS else _as_it_is
        return call(operation, args, kwargs or {})

    @property
    def total(self):
        """Number of operations."""
        return self.counts.total()

    @property
    def products(self):
        """Number of matrix products among them."""
        return sum(self.counts[name] for name in PRODUCTS)


def _as_it_is(operation, args, kwargs):
    return operation(*args, **kwargs)


def _in_fp32(product, args, kwargs):
    """Compute a product in fp32 if its factors are in bf16; return it in bf16."""
    are_bf16 = [isinstance(each, torch.Tensor) and each.dtype == torch.bfloat16 for each in args]
    if not any(are_bf16):
        return product(*args, **kwargs)
    with torch.autocast("cpu", enabled=False):
        wide = [each.float() if is_bf16 else each for each, is_bf16 in zip(args, are_bf16, strict=True)]
        result = product.overloadpacket(*wide)
    return kwargs["out"].copy_(result) if "out" in kwargs else result.bfloat16()


def count_steps(encoder, adapters, kernels, precision="bf16", batch_size=32):
    """Return the operations of a training step of the paper's three tasks.

    Args:
        encoder: a name in `encoders.PUBLISHED`.
        adapters: adapters, as in a recipe.
        kernels: as in `mbert train`.
        precision: `fp32` or `bf16`.
        batch_size: rows of each task.
    """
    operations = Operations()

    def steps(_):
        _, drawn = course_steps({"steps": _STEPS, "warm_up": 0, "batch_size": batch_size})
        yield from drawn[:-1]
        with operations:
            yield drawn[-1]

    _train(encoder, adapters, kernels, precision, steps)
    return operations


def count_replayed_step(encoder, adapters, precision="bf16"):
    """Return the operations of a training step that replays a CUDA graph; the graph counts as one operation.

    A stand-in for CUDA graphs repeats the captured operations on a CPU; those are not counted. The counts do not
    depend on the kernels and the number of rows.

    Args:
        encoder: see `count_steps`.
        adapters: see `count_steps`.
        precision: see `count_steps`.
    """
    operations = Operations()

    def steps(_):
        _, (step,) = course_steps({"steps": 1, "warm_up": 0, "batch_size": _ROWS_OF_REPLAYED_STEP})
        yield step  # without a graph
        yield step  # it is captured
        with counting_replays(operations, *graphs):
            yield step

    with gpu_steps() as graphs:
        _train(encoder, adapters, "torch", precision, steps)
    return operations


@contextmanager
def counting_replays(operations, stand_in):
    """Count operations within a block, and each replay of a graph as one operation.

    Args:
        operations: receives the counts.
        stand_in: the stand-in for CUDA graphs.
    """
    before = stand_in.replays
    with operations:
        yield
    operations.counts["replayed graph"] += stand_in.replays - before


def count_predictions(encoder, adapters, precision="bf16"):
    """Return the operations of a small batch of a prediction: with the fused kernels, and with a replayed graph.

    Args:
        encoder: see `count_steps`.
        adapters: see `count_steps`.
        precision: see `count_steps`.
    """
    from ours import save_untrained

    from mbert_cli.prediction.predictor import Predictor

    with _made_up(encoder, adapters) as (recipe, run):
        save_untrained(recipe, run)
        eager = Predictor(run, device="cpu", precision=precision, kernels="fused")
        data = eager.tokenise([["w1 w2 w3 w4"]], "sst")
        with gpu_predictions() as graphs:
            replayed = Predictor(run, device="cpu", precision=precision, kernels="torch")
            counts = operations_of(replayed.outputs, "sst", data, *graphs)
        return operations_of(eager.outputs, "sst", data), counts


def operations_of(outputs, task, data, stand_in=None):
    """Return the operations of the third batch of a prediction.

    Args:
        outputs: the outputs of a saved model.
        task: the task.
        data: the tokens of the batch.
        stand_in: the stand-in for CUDA graphs; None if there are none.
    """
    operations = Operations()
    # In inference mode, PyTorch does not show the parts of composite operations.
    with mock.patch.object(torch, "inference_mode", lambda mode=True: torch.set_grad_enabled(not mode)):
        for _ in range(2):
            outputs(task, data, None)
        with operations if stand_in is None else counting_replays(operations, stand_in):
            outputs(task, data, None)
    return operations


def _train(encoder, adapters, kernels, precision, steps):
    """Take steps with random weights and made-up sentences."""
    from ours import timed_steps

    with _made_up(encoder, adapters) as (recipe, run):
        timed_steps(recipe, run, precision, steps, 0, kernels)


@contextmanager
def _made_up(encoder, adapters):
    """Write random weights and made-up sentences; yield a recipe that reads them, and a folder for a run."""
    from ours import course_recipe, load

    with tempfile.TemporaryDirectory() as folder:
        run, weights = Path(folder, "run"), Path(folder, "encoder")
        for each in (run, weights):
            each.mkdir()
        made_up_course.write_course(Path(folder), _ROWS)
        os.environ["MBERT_DATA"] = folder
        write_random_encoder(shape_of(encoder), weights)
        made_up_course.write_tokenizer(weights, shape_of(encoder).vocab_size)
        yield load(course_recipe(str(weights), adapters), Path(folder)), run


def main():
    """Count the operations of each case with each of the kernels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=contest.words, default=",".join(KERNELS), help="fused, torch")
    parser.add_argument("--cases", type=contest.words, default=",".join(CASES), help=", ".join(CASES))
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--each", action="store_true", help="also print the counts of single operations")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    options = parser.parse_args()
    contest.check_names(options.cases, CASES, "--cases")
    contest.check_names(options.kernels, KERNELS, "--kernels")
    operations = {
        (name, kernels): count_steps(*CASES[name], kernels, options.precision)
        for name in options.cases
        for kernels in options.kernels
    }
    replayed = {name: count_replayed_step(*CASES[name], options.precision) for name in options.cases}
    predictions = {name: count_predictions(*CASES[name], options.precision) for name in options.cases}
    columns = ("", "all", "matrix products", "others", "with a replayed graph")
    table = contest.table(f"operations of a step, {options.precision}", *columns)
    for (name, kernels), each in operations.items():
        numbers = each.total, each.products, each.total - each.products, replayed[name].total
        table.add_row(f"{name}: {kernels}", *map(str, numbers))
    predicted = contest.table(f"operations of a small batch of a prediction, {options.precision}", "", *columns[1:])
    for name, (each, graph) in predictions.items():
        predicted.add_row(name, *map(str, (each.total, each.products, each.total - each.products, graph.total)))
    contest.show(table, predicted)
    if options.each:
        of_replays = {(name, "replayed"): each for name, each in replayed.items()}
        for name, (each, graph) in predictions.items():
            of_replays |= {(name, "prediction"): each, (name, "replayed prediction"): graph}
        for (name, kernels), each in (operations | of_replays).items():
            single = contest.table(f"{name}: {kernels}", "", "calls")
            for operation, count in each.counts.most_common():
                single.add_row(operation, str(count))
            contest.show(single)
    counts = [
        {
            "case": name,
            "kernels": kernels,
            "all": each.total,
            "products": each.products,
            "each": each.counts,
            "replayed": replayed[name].counts,
            "prediction": predictions[name][0].counts,
            "replayed_prediction": predictions[name][1].counts,
        }
        for (name, kernels), each in operations.items()
    ]
    contest.write_json(options.json, counts)


if __name__ == "__main__":
    main()
