"""`mbert train`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from mbert_cli.commands import validate as validation
from mbert_cli.commands.completion import recipe_or_file
from mbert_cli.commands.options import (
    BatchSize,
    Device,
    Force,
    Kernels,
    Limit,
    Offline,
    Precision,
    Quiet,
    Settings,
    Verbose,
    default_folder,
    go_offline,
    recipe_and_settings,
)
from mbert_cli.errors import UsageError
from mbert_cli.terminal.console import Console


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe file, or a shipped recipe's name. Default: demo.",
            autocompletion=recipe_or_file,
        ),
    ] = None,
    settings: Settings = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder. Default: runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was stopped or killed.")] = False,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="Resume with another recipe, data, hardware or versions.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, tell what it would take, and train nothing.")
    ] = False,
    force: Force = False,
    batch_size: BatchSize = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=1000, help="Members of an ensemble at once; they share the cores.")
    ] = 1,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Everything random is a function of it.")] = None,
    limit: Limit = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what happens as JSON, an object a line: start, epoch, end.")
    ] = False,
) -> None:
    """Train a model as a recipe says.

    $ mbert train
    $ mbert train my.yaml training.epochs=3 -o runs/a

    A run that was stopped or killed goes on with --resume. It trains on where
    messages or --json lines cannot be written. Recipes are listed
    by mbert recipes ls; one is written from your own files by mbert init.
    """
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
        raise UsageError("--resume and --force exclude each other.")
    if allow_drift and not resume:
        raise UsageError("--allow-drift goes with --resume.")
    if recipe is None and resume and output is not None:
        recipe = str(output / "recipe.yaml")
    name = recipe or "demo"
    folder = RunFolder(output or default_folder(name))
    if dry_run:
        validation.dry_run(name, chosen, folder.path, (device, precision, kernels), console, limit)
        return
    # The lock first: all that follows takes seconds, and a second run shall not wait for its refusal.
    with folder.locked(resume, force):
        from mbert_cli.machine.hardware import choose
        from mbert_cli.model.components import load_recipe
        from mbert_cli.training.console import print_next_steps, summary
        from mbert_cli.training.fit import fit
        from mbert_cli.training.members import fit_members
        from mbert_cli.training.options import RunOptions

        loaded = load_recipe(name, chosen)
        hardware = choose(device, precision, kernels)
        console.show_log()
        options = RunOptions(hardware, console, resume, limit, allow_drift, jobs)
        if loaded.training.members > 1:
            best = fit_members(loaded, folder, options)
        elif jobs == 1:
            best = fit(loaded, folder, options)
        else:
            raise UsageError("--jobs is for ensembles, and training.members is 1; mbert sweep trains several runs.")
    console.event("end", {"run": str(folder.path), "kept": best.as_dict()})
    if not as_json:
        console.report(summary(best, folder.path))
        print_next_steps(console, folder.path, time.monotonic() - started)
