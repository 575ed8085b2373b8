"""Training in two and three processes, compared with one process and with fp64, on a tiny encoder."""

import json
import math
import os
import random
import subprocess
import sys
from itertools import product
from pathlib import Path

import tiny
import torch
from components import OPTIONS
from experiment import Chance, Experiment, check, once
from torch import Tensor

from mbert_cli.model.components import kinds

WORKER = Path(__file__).parent / "process_steps.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
CASES = 28  # of one trial; the test suite takes fewer
PROCESSES = (2, 3)  # the test suite takes three only
# The learning rate is so small that no weight changes.
_FIXED = (
    "training.learning_rate=1e-30",
    "encoder.dropout=0.2",
    "training.epochs=2",
    "tasks.same.head={kind: pair_classification, positive_weight: 2, label_smoothing: 0.1}",
)
_TRAINED = ("training.learning_rate=5e-5", "training.batch_size=5", "training.epochs=30")
_WINDOWS = (
    "training.max_length=9",
    "tasks.mood.windows={stride: 2}",
    "tasks.same.windows={stride: 3, pool: max}",
    "tasks.near.windows={stride: 0, most: 2}",
)
_BALANCED = [
    f"tasks.mood.head={{kind: classification, labels: [low, mid, high], class_weights: balanced, {option}}}"
    for option in ("label_smoothing: 0.1", "focal: 2")
]
_OTHER_HEADS = (
    "tasks.mood.head={kind: ordinal, labels: [low, mid, high]}",
    "tasks.same.head={kind: multi_label, labels: ['0', '1'], positive_weight: balanced, focal: 2}",
    "tasks.near.head={kind: unbounded_regression}",
    "training.gradient_checkpointing=true",
)
_LOSSES, _GRADIENTS = 1e-6, 3e-6  # largest relative differences from one process, at equal weights
_IN_FP64 = 1e-12  # the same of losses and gradients that are computed in fp64
_AFTER_100_STEPS = 1e-5
Result = tuple[dict, list[Tensor]]


def all_cases() -> list[tuple[str, str, str]]:
    """Return all curricula, balancings and adapters with each other, in a random order."""
    cases = list(product(kinds("curricula"), kinds("loss_balancing"), ["none", *kinds("adapters")]))
    random.Random(0).shuffle(cases)
    return cases


def make_recipe(folder: Path) -> None:
    """Write a checkpoint, its files and a recipe into a new folder."""
    (folder / "files").mkdir(parents=True)
    tiny.write_checkpoint(folder / "checkpoint", hidden_size=32, intermediate_size=64, num_attention_heads=2)
    tiny.write_files(folder / "files")
    # Relative paths, so that the folder can be renamed.
    tiny.write_recipe(folder / "recipe.yaml", Path("./checkpoint"), Path("./files"))


def case_of(recipe: Path, chosen: tuple[str, str, str], chance: random.Random) -> dict:
    """Return a case for the worker, with random kernels, and settings that make the processes' shares uneven."""
    curriculum, balancing, adapter = chosen
    options = OPTIONS["adapters"].get(adapter, [{}])[0]
    adapters = "[]" if adapter == "none" else json.dumps([{"kind": adapter, **options}])
    settings = [*_FIXED, f"curriculum={curriculum}", f"loss_balancing={balancing}", f"adapters={adapters}"]
    settings.append(f"training.batch_size={chance.choice([2, 5, 7])}")
    if chance.random() < 0.5:
        settings.append(chance.choice(_BALANCED))
    if chance.random() < 0.5:
        settings.append("tasks.same.symmetric=true")
    if adapter == "top" and chance.random() < 0.5:
        settings += ["training.freeze_encoder=true", "training.cache_features=true", "tasks.same.symmetric=false"]
    elif chance.random() < 0.5:
        settings.append("tasks.same.token_dropout=0.3")
    if chance.random() < 0.5:
        settings += ["training.accumulate=2", "tasks.near.loss_weight=0.5", "tasks.mood.learning_rate=2e-30"]
        settings += ["tasks.same.epoch_share=0.5", "training.schedule=cosine", "training.max_steps=15"]
    kernels = chance.choice(["torch", "fused"])
    if chance.random() < 0.5:
        settings += _WINDOWS
    if chance.random() < 0.5:
        settings += _OTHER_HEADS
    return {"recipe": str(recipe), "settings": settings, "kernels": kernels, "steps": 2}


def run_worker(cases: dict[str, dict], out: Path, *launcher: str) -> None:
    """Run the cases in the processes of a launcher, each with one thread."""
    out.mkdir(exist_ok=True)
    (out / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, *launcher, str(WORKER), str(out / "cases.json"), str(out)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=1800)
    check(done.returncode == 0, done.stderr)


def _compared(chance: Chance, folder: Path) -> str:
    recipe = once(folder, "tiny-of-32-features", make_recipe) / "recipe.yaml"
    chosen = all_cases()[chance.index * CASES :][:CASES]
    cases = {"-".join(each): case_of(recipe, each, chance) for each in chosen}
    in_double = {f"{name}-fp64": {**case, "kernels": "torch", "double": True} for name, case in cases.items()}
    first = dict(list(cases.items())[:1])
    curriculum = kinds("curricula")[chance.index % len(kinds("curricula"))]
    settings = [*_TRAINED, f"curriculum={curriculum}"]
    trained = {
        "trained": {"recipe": str(recipe), "settings": settings, "steps": 100, "in_all": 100, "gradients": False}
    }
    run_worker(cases | trained | in_double, folder / "plain")
    run_worker(first, folder / "1", *TORCHRUN, "1")
    for name in first:
        check(bytes_of(folder / "plain", name) == bytes_of(folder / "1", name), f"{name}: torchrun changes the bytes")
    worst = dict.fromkeys(("gradients", "gradients of one process from fp64", "losses", "losses of 100 steps"), 0.0)
    worst |= dict.fromkeys(("gradients in fp64", "losses in fp64"), 0.0)

    def note(key: str, value: float, limit: float, where: str) -> None:
        check(value <= limit, f"{where}: difference of {key} {value:.1e}")
        worst[key] = max(worst[key], value)

    for count in PROCESSES:
        run_worker(cases | trained | in_double, folder / str(count), *TORCHRUN, str(count))
        for name in cases:
            where = f"{name}, {count} processes"
            one, exact = (result_of(folder / "plain", each, 1) for each in (name, f"{name}-fp64"))
            several = same_in_all(folder / str(count), name, count)
            check(several[0]["metrics"] == one[0]["metrics"], f"{where}: the metrics differ")
            note("losses", losses_between(several, one), _LOSSES, where)
            note("gradients", gradients_between(several, one), _GRADIENTS, where)
            note("gradients of one process from fp64", gradients_between(one, exact), math.inf, where)
            several = same_in_all(folder / str(count), f"{name}-fp64", count)
            note("losses in fp64", losses_between(several, exact), _IN_FP64, where)
            note("gradients in fp64", gradients_between(several, exact), _IN_FP64, where)
        several, one = same_in_all(folder / str(count), "trained", count), result_of(folder / "plain", "trained", 1)
        check(len(one[0]["losses"]) == 100, "there are fewer than 100 steps")
        note("losses of 100 steps", losses_between(several, one), _AFTER_100_STEPS, f"{curriculum}, {count}")
    return ", ".join(f"{key} {value:.1e}" for key, value in worst.items())


def result_of(out: Path, name: str, count: int, rank: int = 0) -> Result:
    """Return the losses and metrics, and the gradients, that one process wrote."""
    at = out / f"{name}-of-{count}"
    return json.loads((at / f"{rank}.json").read_text(encoding="utf-8")), torch.load(at / f"{rank}.pt")


def bytes_of(out: Path, name: str) -> list[bytes]:
    """Return the two files that a single process wrote."""
    at = out / f"{name}-of-1"
    return [(at / "0.json").read_bytes(), (at / "0.pt").read_bytes()]


def same_in_all(out: Path, name: str, count: int) -> Result:
    """Return the result of the first process; check that all others computed the same bits."""
    first, *others = (result_of(out, name, count, rank) for rank in range(count))
    for other in others:
        same = other[0] == first[0] and all(map(torch.equal, other[1], first[1]))
        check(same, f"{name}: {count} processes differ from each other")
    return first


def losses_between(some: Result, reference: Result) -> float:
    """Return the largest relative difference of two results' losses; losses below 0.001 count as 0.001."""
    pairs = zip(some[0]["losses"], reference[0]["losses"], strict=True)
    return max(abs(a[task] - b[task]) / max(1e-3, abs(b[task])) for a, b in pairs for task in b)


def gradients_between(some: Result, reference: Result) -> float:
    """Return the largest |g - g'| / |g'| over the steps, where g is the gradient of all parameters."""
    pairs = zip(some[1], reference[1], strict=True)
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in pairs)


equal_processes = Experiment(
    22,
    "training in two and three processes, all curricula, balancings and adapters with each other: at equal weights, "
    "losses and gradients within 1e-12 of one process in fp64, and within 1e-6 and 3e-6 in fp32; equal metrics; losses "
    "of 100 steps within 1e-5; one process under torchrun: byte-for-byte identical",
    20,
    1,
    _compared,
)
