"""A dry run: check everything that a training run checks, and estimate its time, memory and disk space."""

import math
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbert_cli.curricula import Phase
from mbert_cli.data.examples import read_examples
from mbert_cli.data.hub import is_there
from mbert_cli.errors import MbertError, RecipeError, counted
from mbert_cli.evaluation.evaluate import evaluate
from mbert_cli.machine.hardware import Hardware
from mbert_cli.model.compose import encoder_shape, task_labels
from mbert_cli.recipe.field_types import seconds_in
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import check_free, in_use
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.throughput import duration
from mbert_cli.training.checks import check_recipe
from mbert_cli.training.console import print_opening
from mbert_cli.training.feature_cache import cache_features
from mbert_cli.training.options import RunOptions
from mbert_cli.training.run_size import check_room, disk_needed, run_size
from mbert_cli.training.setup import TrainingSetup, set_up
from mbert_cli.training.start import start_from_run, start_problems
from mbert_cli.training.state import TrainingState
from mbert_cli.training.step import OptimizerStep

_MEASURED = 6  # steps of each kind
_MEASURED_ROWS = 128  # dev rows of each task


@dataclass(frozen=True)
class Estimate:
    """An estimate of what a training run takes, from a few measured steps.

    Args:
        steps: number of optimizer steps.
        train_seconds: duration of all steps; None if nothing was measured.
        dev_seconds: duration of scoring the dev files after all epochs; None if nothing was measured.
        save_seconds: duration of writing the states and models.
        memory: peak memory of the process, or of the GPU, in bytes; None if it is unknown.
        disk: size of the run folder at the end, in bytes.
        disk_at_most: the largest size of the run folder at any time, in bytes.
        may_end_early: whether `patience` or `max_time` may end the run before that; the time is at most `max_time`.
    """

    steps: int
    train_seconds: float | None
    dev_seconds: float | None
    save_seconds: float
    memory: int | None
    disk: int
    disk_at_most: int
    may_end_early: bool = False

    def line(self) -> str:
        """Return the estimate as a sentence."""
        disk = f"{self.disk / 1e6:,.0f} MB of disk ({self.disk_at_most / 1e6:,.0f} MB while it runs)"
        if self.train_seconds is None or self.dev_seconds is None:
            return f"{counted(self.steps, 'step')}, {disk}"
        memory = "" if self.memory is None else f", {self.memory / 1e9:.1f} GB of memory"
        total = duration(self.train_seconds + self.dev_seconds + self.save_seconds)
        return (
            f"{'at most ' * self.may_end_early}about {total}: "
            f"{counted(self.steps, 'step')} in "
            f"{duration(self.train_seconds)}, dev files in {duration(self.dev_seconds)}, saving in "
            f"{duration(self.save_seconds)}{memory}, {disk}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the estimate for JSON."""
        return asdict(self)


def validate(recipe: Recipe, folder: Path | None, options: RunOptions, measure: bool = True) -> Estimate:
    """Check everything that training checks, and the test files; then take a few steps and discard them.

    Args:
        recipe: the recipe.
        folder: the run folder; nothing is written there. None if it is not chosen yet: then no folder is checked, and
            the free space is that of the working folder's disk.
        options: how to train. `resume` and `jobs` are not used.
        measure: whether to take steps. Otherwise time and memory are unknown.

    Raises:
        MbertError: the recipe, the data, the checkpoint or the folder cannot be used, or the disk is too small. The
            error lists all problems of recipe, encoder, folder and files.
    """
    hardware, console = options.hardware, options.console
    problems = [
        *([] if folder is None else _folder_problems(folder, console)),
        *_encoder_problems(recipe),
        *start_problems(recipe),
        *_file_problems(recipe, options.limit, console),
    ]
    if problems:
        raise RecipeError(*problems)
    setup = set_up(recipe, options)
    start_from_run(setup.recipe, setup.learner.model, setup.encoder_folder, console)
    print_opening(setup, options)
    training = setup.recipe.training
    members = training.members  # they train one after another, and all their models are kept
    size = run_size(setup)
    disk = disk_needed(size, members)
    check_room(_existing(folder or Path()), disk.most)
    steps, save_seconds = members * setup.phases.total_steps, members * size.rounds * size.save_seconds
    if not measure:
        return Estimate(steps, None, None, save_seconds, None, disk.kept, disk.most)
    with tempfile.TemporaryDirectory() as temporary:
        if training.cache_features:
            setup = replace(setup, data=cache_features(setup.learner.model, setup.data, Path(temporary), console))
        with console.status("taking a few steps"):
            train_seconds, dev_seconds = _train_seconds(setup, hardware.device), _dev_seconds(setup)
    disk = disk_needed(run_size(setup, train_seconds / len(setup.phases.epochs)), members)
    memory = _peak_memory(hardware)
    times = members * train_seconds, members * dev_seconds, save_seconds
    limit = math.inf if training.max_time is None else float(members * seconds_in(training.max_time))
    part = min(1.0, limit / sum(times))
    may_end_early = part < 1 or training.patience is not None
    train_seconds, dev_seconds, save_seconds = (part * each for each in times)
    return Estimate(steps, train_seconds, dev_seconds, save_seconds, memory, disk.kept, disk.most, may_end_early)


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest of its parents that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())


def _folder_problems(folder: Path, console: Console) -> list[str]:
    run = RunFolder(folder)
    try:
        check_free(run, resume=False, force=True)
    except MbertError as error:
        return list(error.problems)
    parent = _existing(folder)
    if not os.access(parent, os.W_OK | os.X_OK):
        return [f"{folder}: {parent} is not writable; choose another -o."]
    if in_use(run):
        console.info(f"{folder} is in use by another mbert.")
    elif run.holds_a_run():
        console.info(f"{folder} contains a run; to train, choose --resume, --force or another -o.")
    return []


def _encoder_problems(recipe: Recipe) -> list[str]:
    try:
        encoder_shape(recipe.encoder)
    except MbertError as error:
        return list(error.problems)
    return []


def _file_problems(recipe: Recipe, limit: int | None, console: Console) -> list[str]:
    """Read all files, also those of the test split, so that their problems are found before training."""
    problems: list[str] = []
    try:
        check_recipe(recipe)
    except MbertError as error:
        problems += error.problems
    labels = task_labels(recipe.tasks)
    for name, task in recipe.tasks.items():
        for split, path in (("train", task.train), ("dev", task.dev), ("test", task.test)):
            # check_recipe has already reported missing files of train and dev.
            if path is None or (split != "test" and not is_there(path)):
                continue
            if task.fold is not None and split == "dev":
                continue  # its rows are in the training file
            soft = split == "train" and task.soft_labels is not None
            try:
                examples = read_examples(path, name, task, labels[name], limit, soft)
            except MbertError as error:
                problems += error.problems
                continue
            if split == "test":
                console.detail(examples.source)
                bad = f", {counted(len(examples.skipped), 'bad row')} skipped" if examples.skipped else ""
                console.info(f"{name}: {counted(len(examples), 'test row')}{bad}")
                for warning in examples.warnings:
                    console.note(warning)
    return problems


def _train_seconds(setup: TrainingSetup, device: torch.device) -> float:
    """Return how long all steps of a run take, from a few measured steps of each kind.

    Steps are of the same kind if they have the same tasks and train the same parameters. The measured ones are spread
    evenly over the first phase with steps of that kind.
    """
    counts: dict[tuple[tuple[str, ...], str], int] = {}
    first: dict[tuple[tuple[str, ...], str], tuple[int, Phase]] = {}
    training, phases = setup.recipe.training, setup.phases
    for epoch, phase, steps in phases.planned():
        for tasks in steps:
            kind = (tasks, phase.trains)
            counts[kind] = counts.get(kind, 0) + 1
            first.setdefault(kind, (epoch, phase))
    step = OptimizerStep(setup, TrainingState(), device)
    step.run_without_graphs()  # to capture one takes longer than all measured steps
    total = 0.0
    for (tasks, _), (epoch, phase) in first.items():
        setup.learner.model.train_only(None if phases.trains_everything(phase) else list(phase.rows))
        # Start with the longest rows: they need the most memory, and kernels are compiled in this step.
        step({task: np.argsort(-setup.data.train[task].lengths)[: training.batch_size] for task in tasks})
        step.read()  # waits for a GPU
        batches = [
            rows
            for rows in phase.batches(setup.data.sizes, training.batch_size, training.seed, epoch)
            if tuple(rows) == tasks
        ]
        chosen = batches[:: -(-len(batches) // _MEASURED)]
        started = time.monotonic()
        for rows in chosen:
            step(rows)
        step.read()
        total += (time.monotonic() - started) / len(chosen) * counts[tasks, phase.trains]
    return total


def _dev_seconds(setup: TrainingSetup) -> float:
    """Return how long scoring the dev files takes in the whole run: measured on some rows, scaled by tokens."""
    total = 0.0
    for task, data in setup.data.dev.items():
        some = data.take(np.arange(0, len(data), -(-len(data) // _MEASURED_ROWS)))
        evaluate(setup.learner.model, {task: some})  # the first call is slower
        started = time.monotonic()
        evaluate(setup.learner.model, {task: some})
        total += (time.monotonic() - started) * data.lengths.sum() / some.lengths.sum()
    # For an ensemble, each member is also scored together with the previous ones.
    return float(total) * (run_size(setup).scored + (setup.recipe.training.members > 1))


def _peak_memory(hardware: Hardware) -> int | None:
    if hardware.device.type == "cuda":
        return torch.cuda.max_memory_allocated(hardware.device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
