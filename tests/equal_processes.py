"""Train tiny recipes in one of several processes and write what each step computed, for comparisons.

    torchrun --nproc-per-node 3 tests/equal_processes.py CASES OUT

CASES is a JSON file: {name: {"recipe": path, "settings": [...], "kernels": name, "steps": number, "resume": bool}}.
OUT gets one file for each case and process, with the losses and gradients of each step and the metrics on dev.
"""

import json
import sys
from pathlib import Path

import torch
from tiny_runs import QUIET

from mbert_cli.curricula import Phase
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.evaluation.evaluate import evaluate
from mbert_cli.machine.hardware import choose
from mbert_cli.machine.process_group import Processes, joined
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import prepare
from mbert_cli.training.options import RunOptions


def record(name: str, case: dict, out: Path, processes: Processes) -> None:
    """Take the first steps of each phase of a case; write their losses and gradients, and the metrics on dev."""
    folder = out / f"{name}-of-{processes.count}"
    folder.mkdir(parents=True, exist_ok=True)
    options = RunOptions(choose("cpu", "fp32", case.get("kernels", "torch")), QUIET, processes=processes)
    run = prepare(load_recipe(case["recipe"], case["settings"]), RunFolder(folder / "run"), options)
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
                losses += steps_of(run, phase, epoch, case.get("steps", 2))
            run.setup.learner.optimizer.catch_up()
            run.setup.learner.balancing.end_epoch()
    finally:
        RowwiseAdamW.step = step  # type: ignore[method-assign]
    metrics = evaluate(run.model, run.data.dev, processes=processes).metrics
    balancing = {key: value.tolist() for key, value in run.setup.learner.balancing.state_dict().items()}
    result = {"losses": losses, "metrics": metrics, "balancing": balancing}
    (folder / f"{processes.rank}.json").write_text(json.dumps(result), encoding="utf-8")
    torch.save(gradients, folder / f"{processes.rank}.pt")


def steps_of(run, phase: Phase, epoch: int, count: int) -> list[dict[str, float]]:
    """Take the first steps of a phase; return their losses."""
    training = run.recipe.training
    run._begin(phase)
    batches = phase.batches(run.data.sizes, training.batch_size, training.seed, epoch)
    return [run.step(rows) for rows, _ in zip(batches, range(count), strict=False)]


def main(cases: str, out: str) -> None:
    with joined() as processes:
        for name, case in json.loads(Path(cases).read_text(encoding="utf-8")).items():
            (Path(out) / f"{name}-of-{processes.count}" / "run").mkdir(parents=True, exist_ok=True)
            record(name, case, Path(out), processes)
            processes.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
