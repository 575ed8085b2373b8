"""`mbert add-task`."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.completion import recipe_or_file
from mbert_cli.commands.options import (
    AllowDrift,
    BatchSize,
    Device,
    DryRun,
    Encoder,
    EventsAsJson,
    Force,
    Kernels,
    Limit,
    Offline,
    Precision,
    Quiet,
    Resume,
    Run,
    Seed,
    Settings,
    Verbose,
    go_offline,
)
from mbert_cli.commands.validate import print_estimate_of
from mbert_cli.errors import UsageError, counted
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.model.saved_parts import ModelFiles
    from mbert_cli.recipe.sections import Recipe


def add_task(
    run: Run,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe with the new tasks: a file, or a shipped one.",
            autocompletion=recipe_or_file,
        ),
    ],
    settings: Settings = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The folder of the new run.", show_default=False),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", metavar="TASK", help="Add only this task of the recipe. May be repeated."),
    ] = None,
    resume: Resume = False,
    allow_drift: AllowDrift = False,
    dry_run: DryRun = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    encoder: Encoder = None,
    offline: Offline = False,
    seed: Seed = None,
    limit: Limit = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: EventsAsJson = False,
) -> None:
    """Train new tasks on the frozen encoder of a trained model.

    $ mbert add-task runs/demo new.yaml -o runs/more
    $ mbert add-task runs/demo new.yaml -t topic -o x

    The new model has the tasks of RUN and those of RECIPE. The tasks of RUN keep the same weights and predictions, byte
    for byte. Encoder, pooling and maximum number of tokens come from RUN; adapters and training settings come from
    RECIPE. If no adapter acts inside the encoder, the encoder runs only once per text. RUN does not change. To train
    the encoder as well, use mbert train.
    """
    from mbert_cli.storage.run_folder import RunFolder
    from mbert_cli.storage.run_lock import locked

    console = Console(quiet, verbose, as_json)
    started = time.monotonic()
    go_offline(offline)
    if output is None and not dry_run:
        raise UsageError("-o DIR is missing; give the folder of the new run.")
    if resume and force:
        raise UsageError("--resume and --force cannot be used together.")
    if allow_drift and not resume:
        raise UsageError("--allow-drift requires --resume.")
    overrides = list(settings or [])
    if batch_size is not None:
        overrides.append(f"training.batch_size={batch_size}")
    if seed is not None:
        overrides.append(f"training.seed={seed}")
    from mbert_cli.model.saved_parts import model_to_extend

    base = model_to_extend(run, output)
    folder = None if output is None else RunFolder(output)
    with locked(folder, resume, force) if folder is not None and not dry_run else nullcontext():
        from mbert_cli.machine.hardware import choose
        from mbert_cli.training.console import print_next_steps, summary
        from mbert_cli.training.fit import fit
        from mbert_cli.training.options import RunOptions

        loaded = _new_tasks(recipe, overrides, base, tasks or [], encoder)
        hardware = choose(device, precision, kernels)
        console.show_log()
        existing = f"{counted(len(base.task_names), 'task')} of {run}: {', '.join(base.task_names)}"
        console.info(f"adding {', '.join(loaded.tasks)} to the {existing}")
        options = RunOptions(hardware, console, resume, limit, allow_drift, base=base)
        if dry_run or folder is None:
            print_estimate_of(loaded, output, options)
            return
        best = fit(loaded, folder, options)
    console.event("end", {"run": str(folder.path), "kept": best.as_dict()})
    if not as_json:
        console.report(summary(best, folder.path))
        print_next_steps(console, best, folder.path, time.monotonic() - started)


def _new_tasks(recipe: str, settings: list[str], base: "ModelFiles", tasks: list[str], encoder: str | None) -> "Recipe":
    from mbert_cli.recipe.recipe_file import read_document
    from mbert_cli.recipe.shipped import find
    from mbert_cli.training.added_tasks import change, new_tasks

    document = read_document(find(recipe))
    change(document, settings)
    return new_tasks(document, base, tasks, encoder)
