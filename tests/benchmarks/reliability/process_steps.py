"""Train tiny recipes in one of several processes and write what each step computed, for comparisons.

    torchrun --nproc-per-node 3 tests/benchmarks/reliability/process_steps.py CASES OUT

CASES is a JSON file of cases by name: {"recipe": path, "settings": [...], "kernels": name, "steps": number, "in_all":
number, "double": bool}. A case takes at most `steps` steps of each phase, and `in_all` of the run. With `double`, it
computes in fp64. OUT gets two files for each case and process: the losses of each step and the metrics on dev, and the
gradients of each step.
"""

import json
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tiny_runs.py
from tiny_runs import QUIET

from mbert_cli.batch import Batch
from mbert_cli.curricula import Phase
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.evaluation.evaluate import evaluate
from mbert_cli.machine.hardware import choose
from mbert_cli.machine.process_group import Processes, joined
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import prepare
from mbert_cli.training.loop import TrainingRun, begin_phase
from mbert_cli.training.options import RunOptions


def record(name: str, case: dict, out: Path, processes: Processes) -> None:
    """Take the first steps of each phase of a case; write their losses and gradients, and the metrics on dev."""
    folder = out / f"{name}-of-{processes.count}"
    folder.mkdir(parents=True, exist_ok=True)
    options = RunOptions(choose("cpu", "fp32", case.get("kernels", "torch")), QUIET, processes=processes)
    run = prepare(load_recipe(case["recipe"], case["settings"]), RunFolder(folder / "run"), options)
    if case.get("double"):
        compute_in_fp64(run)
    losses, gradients = [], []
    step = RowwiseAdamW.step

    def watched(self):
        if case.get("gradients", True):
            dense = [
                (each.grad.to_dense() if each.grad.is_sparse else each.grad).flatten()
                for each in run.model.parameters()
                if each.grad is not None
            ]
            gradients.append(torch.cat(dense))
        step(self)

    RowwiseAdamW.step = watched  # type: ignore[method-assign]
    try:
        for epoch in run.setup.phases.epochs:
            for phase in run.setup.phases.of_epoch(epoch):
                left = case.get("in_all", 1000) - len(losses)
                losses += steps_of(run, phase, epoch, min(left, case.get("steps", 2)))
            run.setup.learner.optimizer.catch_up()
            run.setup.learner.balancing.end_epoch()
    finally:
        RowwiseAdamW.step = step  # type: ignore[method-assign]
    # Cached features of the dev files are fp32.
    metrics = {} if case.get("double") else evaluate(run.model, run.data.dev, processes=processes).metrics
    balancing = {key: value.tolist() for key, value in run.setup.learner.balancing.state_dict().items()}
    result = {"losses": losses, "metrics": metrics, "balancing": balancing}
    (folder / f"{processes.rank}.json").write_text(json.dumps(result), encoding="utf-8")
    torch.save(gradients, folder / f"{processes.rank}.pt")


def compute_in_fp64(run: TrainingRun) -> None:
    """Make the steps of a run compute in fp64."""
    run.model.double()
    run.setup.learner.balancing.double()
    pack = run.step.pairs.pack_portions

    def in_double(batch: Batch) -> Batch:
        labels = {task: labels.double() for task, labels in batch.labels.items()}
        return replace(batch, labels=labels, features=None if batch.features is None else batch.features.double())

    def pack_portions(*arguments):
        portions = []
        for portion in pack(*arguments):
            batch = in_double(portion.batch)
            whole = batch if portion.is_whole else in_double(portion.whole)
            portions.append(replace(portion, batch=batch, whole=whole))
        return portions

    run.step.pairs.pack_portions = pack_portions  # type: ignore[method-assign]


def steps_of(run: TrainingRun, phase: Phase, epoch: int, count: int) -> list[dict[str, float]]:
    """Take the first steps of a phase; return their losses."""
    training = run.recipe.training
    begin_phase(phase, run.setup, run.state)
    batches = phase.batches(run.data.sizes, training.batch_size, training.seed, epoch)
    results = [run.step(rows) for rows, _ in zip(batches, range(count), strict=False)]
    return [result.losses for result in [*chain.from_iterable(results), *run.step.read()]]


def main(cases: str, out: str) -> None:
    with joined() as processes:
        for name, case in json.loads(Path(cases).read_text(encoding="utf-8")).items():
            (Path(out) / f"{name}-of-{processes.count}" / "run").mkdir(parents=True, exist_ok=True)
            record(name, case, Path(out), processes)
            processes.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
