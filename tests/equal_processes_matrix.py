"""Compare training in 2 and 3 processes with one: every curriculum, loss balancing and adapter, on a tiny encoder.

    python tests/equal_processes_matrix.py OUT [PATTERN]

Prints the largest differences of losses and gradients at equal weights. PATTERN selects cases by a part of their name.
"""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import tiny
import torch
from components import OPTIONS

from mbert_cli.model.components import kinds

TESTS = Path(__file__).parent
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
FIXED = ("training.learning_rate=1e-30", "encoder.dropout=0.2", "training.batch_size=7", "training.epochs=2")
LIMIT = 5e-6  # relative; fp32 sums in another order


def main(out: Path, pattern: str = "") -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    checkpoint, files = tiny.write_checkpoint(out / "checkpoint", **sizes), out / "files"
    files.mkdir(exist_ok=True)
    recipe = tiny.write_recipe(out / "recipe.yaml", checkpoint, tiny.write_files(files))
    cases = {}
    adapters = {"none": "[]"}
    for kind in kinds("adapters"):
        options = OPTIONS["adapters"].get(kind, [{}])[0]
        adapters[kind] = json.dumps([{"kind": kind, **options}])
    for kernels, curriculum, balancing, adapter in product(
        ("torch", "fused"),
        kinds("curricula"),
        kinds("loss_balancing"),
        adapters,
    ):
        name = f"{kernels}-{curriculum}-{balancing}-{adapter}"
        settings = [*FIXED, f"curriculum={curriculum}", f"loss_balancing={balancing}", f"adapters={adapters[adapter]}"]
        if pattern in name:
            cases[name] = {"recipe": str(recipe), "settings": settings, "kernels": kernels, "steps": 2}
    (out / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    for launcher in ((), (*TORCHRUN, "2"), (*TORCHRUN, "3")):
        words = [sys.executable, *launcher, str(TESTS / "equal_processes.py"), str(out / "cases.json"), str(out)]
        subprocess.run(words, env=environment, check=True)
    worst = [compare(out, name, count) for name in cases for count in (2, 3)]
    failed = [line for line, largest in worst if largest > LIMIT]
    print("\n".join(failed))
    print(f"{len(worst)} comparisons, {len(failed)} beyond {LIMIT}; largest {max(largest for _, largest in worst):.1e}")
    raise SystemExit(bool(failed))


def compare(out: Path, name: str, count: int) -> tuple[str, float]:
    """Return a line about a case and its largest relative difference; infinite if the processes differ."""
    one, gradients = result_of(out, name, 1, 0)
    results = [result_of(out, name, count, rank) for rank in range(count)]
    first, own = results[0]
    alike = all(other == first and all(map(torch.equal, each, own)) for other, each in results)
    losses = max(
        abs(a[task] - b[task]) / max(1e-3, abs(b[task]))
        for a, b in zip(first["losses"], one["losses"], strict=True)
        for task in b
    )
    pairs = zip(own, gradients, strict=True)
    largest = max([losses, *(float((a - b).norm() / b.norm()) for a, b in pairs)])
    return f"{name}, {count} processes: {largest:.1e}, alike {alike}", largest if alike else float("inf")


def result_of(out: Path, name: str, count: int, rank: int) -> tuple[dict, list[torch.Tensor]]:
    at = out / f"{name}-of-{count}"
    return json.loads((at / f"{rank}.json").read_text(encoding="utf-8")), torch.load(at / f"{rank}.pt")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    main(folder, *sys.argv[2:])
