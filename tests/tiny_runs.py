"""Trainings of tiny recipes in the tests' process."""

import json
from itertools import islice

from mbert_cli.machine.hardware import choose
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.fit import fit, prepare
from mbert_cli.training.loop import TrainingRun
from mbert_cli.training.options import RunOptions

QUIET = Console(quiet=True)


def options(precision="fp32", console=QUIET, **others) -> RunOptions:
    """Options of a training run on the CPU that prints nothing."""
    return RunOptions(choose("cpu", precision), console, **others)


def train(recipe, folder, *settings, resume=False, limit=None, precision="fp32", allow_drift=False):
    chosen = options(precision, resume=resume, limit=limit, allow_drift=allow_drift)
    return fit(load_recipe(str(recipe), settings), RunFolder(folder), chosen)


STEPS = 6


def losses_after(step, rows) -> list[dict[str, float]]:
    """Take a step on the CPU; return its losses, in a list."""
    return [result.losses for result in step(rows)]


def run_of(recipe_file, folder, checkpoint, kernels, *settings, precision="fp32") -> TrainingRun:
    """Return a run without dropout."""
    recipe = json.loads(recipe_file.read_text(encoding="utf-8"))
    recipe["encoder"] = {"checkpoint": str(checkpoint)}
    path = folder / "even.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    run = folder / kernels
    run.mkdir()
    chosen = RunOptions(choose("cpu", precision, kernels), QUIET)
    found = prepare(load_recipe(str(path), settings), RunFolder(run), chosen)
    for module in found.model.modules():
        for name in ("dropout_p", "p"):
            if hasattr(module, name):
                setattr(module, name, 0.0)
    return found


def steps_of(run: TrainingRun, epoch: int = 1):
    """Yield the first steps of each phase of an epoch: their rows, and the tasks whose own parameters train alone."""
    training = run.recipe.training
    for phase in run.setup.phases.of_epoch(epoch):
        everything = phase.trains == "everything" and not training.freeze_encoder
        own = None if everything else list(phase.rows)
        batches = phase.batches(run.data.sizes, training.batch_size, training.seed, epoch)
        for rows in islice(batches, STEPS):
            yield rows, own


def losses_of(run: TrainingRun, epochs=(1,)) -> list[dict[str, float]]:
    found = []
    for epoch in epochs:
        for rows, own in steps_of(run, epoch):
            run.model.train_only(own)
            found += losses_after(run.step, rows)
    return found
