"""Count PyTorch's operations in a training step: for a GPU, the CPU launches each of them.

    python tests/benchmarks/count_operations.py

It takes a few steps on a CPU, with random weights and made-up sentences, and counts the operations of the last step:
forward pass, backward pass and update. It does not count operations that launch nothing, such as views and allocations,
or loops that Numba compiles. One product for several tasks counts once, because a GPU launches it once; a CPU divides
it by task.
"""

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path

import contest
import made_up_course
from encoders import shape_of, write_random_encoder
from torch.utils._python_dispatch import TorchDispatchMode
from workload import course_steps

PRODUCTS = ("mm", "addmm", "bmm", "_grouped_mm")
LAUNCH_NOTHING = ("new_empty", "is_coalesced", "_sparse_coo_tensor_with_dims_and_tensors")
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


class Operations(TorchDispatchMode):
    """Counts the operations within its block, forward and backward, without those that launch nothing.

    Attributes:
        counts: number of calls of each operation, by its name without overload.
    """

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        """Count an operation and call it."""
        name = operation.overloadpacket.__name__
        if operation.namespace == "aten" and not operation.is_view and name not in LAUNCH_NOTHING:
            self.counts[name] += 1
        return operation(*args, **(kwargs or {}))

    @property
    def total(self):
        """Number of operations."""
        return self.counts.total()

    @property
    def products(self):
        """Number of matrix products among them."""
        return sum(self.counts[name] for name in PRODUCTS)


def count_steps(encoder, adapters, kernels, precision="bf16", batch_size=32):
    """Return the operations of a training step of the paper's three tasks.

    Args:
        encoder: a name in `encoders.PUBLISHED`.
        adapters: adapters, as in a recipe.
        kernels: as in `mbert train`.
        precision: `fp32` or `bf16`.
        batch_size: rows of each task.
    """
    from ours import course_recipe, load, timed_steps

    operations = Operations()

    def steps(_):
        _, drawn = course_steps({"steps": _STEPS, "warm_up": 0, "batch_size": batch_size})
        yield from drawn[:-1]
        with operations:
            yield drawn[-1]

    with tempfile.TemporaryDirectory() as folder:
        run, weights = Path(folder, "run"), Path(folder, "encoder")
        for each in (run, weights):
            each.mkdir()
        made_up_course.write_course(Path(folder), _ROWS)
        os.environ["MBERT_DATA"] = folder
        write_random_encoder(shape_of(encoder), weights)
        made_up_course.write_tokenizer(weights, shape_of(encoder).vocab_size)
        timed_steps(load(course_recipe(str(weights), adapters), Path(folder)), run, precision, steps, 0, kernels)
    return operations


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
    table = contest.table(f"operations of a step, {options.precision}", "", "all", "matrix products", "others")
    for (name, kernels), each in operations.items():
        table.add_row(f"{name}: {kernels}", str(each.total), str(each.products), str(each.total - each.products))
    contest.show(table)
    if options.each:
        for (name, kernels), each in operations.items():
            single = contest.table(f"{name}: {kernels}", "", "calls")
            for operation, count in each.counts.most_common():
                single.add_row(operation, str(count))
            contest.show(single)
    counts = [
        {"case": name, "kernels": kernels, "all": each.total, "products": each.products, "each": each.counts}
        for (name, kernels), each in operations.items()
    ]
    contest.write_json(options.json, counts)


if __name__ == "__main__":
    main()
