"""`mbert train`."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import (
    AllowDrift,
    BatchSize,
    Device,
    DryRun,
    EventsAsJson,
    Force,
    Kernels,
    Limit,
    Offline,
    Precision,
    Quiet,
    RecipeOrDemo,
    Resume,
    Seed,
    Settings,
    Verbose,
    go_offline,
    recipe_and_settings,
)
from mbert_cli.commands.validate import print_estimate
from mbert_cli.errors import UsageError
from mbert_cli.machine.launcher import RESUME, check_alone, is_one_of_many, launch, own_words, parse_devices
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.machine.process_group import Processes
    from mbert_cli.storage.run_folder import RunFolder


def train(
    recipe: RecipeOrDemo = None,
    settings: Settings = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run folder. Default: runs/RECIPE.")
    ] = None,
    resume: Resume = False,
    allow_drift: AllowDrift = False,
    dry_run: DryRun = False,
    force: Force = False,
    batch_size: BatchSize = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            max=1000,
            help="Members of an ensemble to train at the same time; they share the cores and the GPUs.",
        ),
    ] = 1,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="N|0,2,3",
            help="Train in N processes, each on its GPU if there are GPUs; or on the GPUs 0, 2 and 3.",
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    seed: Seed = None,
    limit: Limit = None,
    prune_below: Annotated[Path | None, typer.Option("--prune-below", hidden=True)] = None,  # from mbert sweep
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: EventsAsJson = False,
) -> None:
    """Train a model from a recipe.

    $ mbert train
    $ mbert train my.yaml training.epochs=3 -o runs/a

    --resume continues a run that was stopped or killed. If messages or --json lines cannot be written, training
    continues. `mbert recipes ls` lists the shipped recipes; `mbert init` writes a recipe for your own files.
    """
    from mbert_cli.recipe.shipped import default_folder
    from mbert_cli.storage.run_folder import RunFolder

    console = Console(quiet, verbose, as_json)
    started = time.monotonic()
    go_offline(offline)
    recipe, chosen = recipe_and_settings(recipe, settings)
    if batch_size is not None:
        chosen.append(f"training.batch_size={batch_size}")
    if seed is not None:
        chosen.append(f"training.seed={seed}")
    if resume and force:
        raise UsageError("--resume and --force cannot be used together.")
    if allow_drift and not resume:
        raise UsageError("--allow-drift requires --resume.")
    if recipe is None and resume and output is not None:
        recipe = str(output / "recipe.yaml")
    name = recipe or "demo"
    folder = RunFolder(output or default_folder(name))
    if dry_run:
        print_estimate(name, chosen, folder.path, (device, precision, kernels), console, limit)
        return
    if devices is not None:
        check_alone("--devices")
        launch(*parse_devices(devices), own_words(), RESUME)
        return
    with _started(folder, resume, force, device) as processes:
        from mbert_cli.machine.hardware import choose
        from mbert_cli.model.components import load_recipe
        from mbert_cli.training.console import print_next_steps, summary
        from mbert_cli.training.options import RunOptions
        from mbert_cli.training.pruning import read_limits
        from mbert_cli.training.train import train as train_recipe

        if not processes.is_first:
            console, as_json = Console(quiet=True), True
        with processes.together():
            loaded = load_recipe(name, chosen)
            hardware = choose(device, precision, kernels)
        console.show_log()
        limits = {} if prune_below is None else read_limits(prune_below)
        options = RunOptions(hardware, console, resume, limit, allow_drift, jobs, processes, limits)
        best = train_recipe(loaded, folder, options)
    console.event("end", {"run": str(folder.path), "kept": best.as_dict()})
    if not as_json:
        console.report(summary(best, folder.path))
        print_next_steps(console, best, folder.path, time.monotonic() - started)


@contextmanager
def _started(folder: "RunFolder", resume: bool, force: bool, device: str) -> "Iterator[Processes]":
    """Lock the run folder and connect with the other processes of the run, if there are any, while a block runs."""
    from mbert_cli.storage.run_lock import locked

    if not is_one_of_many():
        # Lock first: the imports take seconds, and a second command is then refused at once.
        with locked(folder, resume, force):
            from mbert_cli.machine.process_group import ALONE

            yield ALONE
        return
    from mbert_cli.machine.process_group import joined

    with joined(device) as processes, ExitStack() as stack:
        with processes.together():
            if processes.is_first:
                stack.enter_context(locked(folder, resume, force))
        yield processes
