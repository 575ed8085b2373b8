"""One procedure: validate; all that a training would check, and what it would take, without training."""

import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbert_cli.curricula import Phase
from mbert_cli.data.examples import read_examples
from mbert_cli.errors import MbertError, RecipeError
from mbert_cli.evaluation import evaluate
from mbert_cli.hardware import Hardware
from mbert_cli.pace import duration
from mbert_cli.progress import Talk
from mbert_cli.recipe import Recipe
from mbert_cli.run_folder import RunFolder
from mbert_cli.training import TrainingRun, disk_needed, prepare
from mbert_cli.training_data import check_recipe

_MEASURED = 6  # steps of each kind
_MEASURED_ROWS = 128  # of each task, to know how long dev files take


@dataclass(frozen=True)
class Estimate:
    """What a training would take; a guess from a few steps of it.

    Args:
        steps: of the optimizer.
        train_seconds: for all of them.
        dev_seconds: for the dev files after all epochs.
        memory: bytes of the process, or of the device, at their most.
        disk: bytes in the run folder at their most.
    """

    steps: int
    train_seconds: float
    dev_seconds: float
    memory: int | None
    disk: int

    def line(self) -> str:
        """Return it for people."""
        memory = "" if self.memory is None else f", {self.memory / 1e9:.1f} GB of memory"
        return (
            f"about {duration(self.train_seconds + self.dev_seconds)}: {self.steps:,} steps in "
            f"{duration(self.train_seconds)}, dev files in {duration(self.dev_seconds)}{memory}, "
            f"{self.disk / 1e6:,.0f} MB of disk"
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def validate(recipe: Recipe, folder: Path, hardware: Hardware, talk: Talk, limit: int | None = None) -> Estimate:
    """Check all that training checks, and test files, too; then take a few steps and forget them.

    Args:
        recipe: what would be trained.
        folder: where the run would be kept; nothing is written there.
        hardware: what would be computed on.
        talk: where progress is told.
        limit: how many examples to take of each file at most.

    Raises:
        MbertError: the recipe, the data or the checkpoint cannot be used, or the disk is too small.
    """
    _check_test_files(recipe, limit)
    with tempfile.TemporaryDirectory() as nowhere:
        run = prepare(recipe, RunFolder(Path(nowhere)), hardware, talk, limit=limit)
        disk = disk_needed(run.model, run.recipe, resume=False) * recipe.training.members
        RunFolder(next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())).check_room(
            disk
        )
        with talk.status("taking a few steps"):
            train_seconds = _train_seconds(run)
            dev_seconds = _dev_seconds(run)
    times = recipe.training.members  # they are trained one after another, and all models are kept
    return Estimate(times * run.total_steps, times * train_seconds, times * dev_seconds, _peak_memory(hardware), disk)


def _check_test_files(recipe: Recipe, limit: int | None) -> None:
    """Read the test files: training does not, and nobody wants to learn of their faults at the end."""
    heads = check_recipe(recipe)
    problems: list[str] = []
    for name, task in recipe.tasks.items():
        if task.test is not None:
            try:
                read_examples(task.test, name, task, heads[name].parse_label, limit)
            except MbertError as error:
                problems += error.problems
    if problems:
        raise RecipeError(*problems)


def _train_seconds(run: TrainingRun) -> float:
    """Return how long all steps would take: those of each kind as long as some of them, evenly spread over a phase."""
    counts: dict[tuple[tuple[str, ...], str], int] = {}
    phases: dict[tuple[tuple[str, ...], str], tuple[int, Phase]] = {}
    training = run.recipe.training
    for epoch in range(1, training.epochs + 1):
        for phase in run.phases(epoch):
            for tasks in phase.steps:
                kind = (tasks, phase.trains)
                counts[kind] = counts.get(kind, 0) + 1
                phases.setdefault(kind, (epoch, phase))
    total = 0.0
    for (tasks, _), (epoch, phase) in phases.items():
        run.begin(phase)
        # The longest rows first: they take most memory, and what is compiled is compiled then.
        longest = {task: np.argsort(-run.data.train[task].lengths)[: training.batch_size] for task in tasks}
        run.step(longest)
        batches = [
            rows
            for rows in phase.batches(run.data.sizes, training.batch_size, training.seed, epoch)
            if tuple(rows) == tasks
        ]
        chosen = batches[:: -(-len(batches) // _MEASURED)]
        started = time.monotonic()
        for rows in chosen:
            run.step(rows)
        total += (time.monotonic() - started) / len(chosen) * counts[tasks, phase.trains]
    return total


def _dev_seconds(run: TrainingRun) -> float:
    """Return how long the dev files would take after all epochs: as their tokens to those of some rows."""
    total = 0.0
    for task, data in run.data.dev.items():
        some = data.take(np.arange(0, len(data), -(-len(data) // _MEASURED_ROWS)))
        evaluate(run.model, {task: some})  # the first time is slower
        started = time.monotonic()
        evaluate(run.model, {task: some})
        total += (time.monotonic() - started) * data.lengths.sum() / some.lengths.sum()
    return float(total) * run.recipe.training.epochs


def _peak_memory(hardware: Hardware) -> int | None:
    if hardware.device.type == "cuda":
        return torch.cuda.max_memory_allocated(hardware.device)
    try:
        import resource
    except ImportError:  # not on this system
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
