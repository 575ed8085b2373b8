"""`mbert validate`, and `mbert train --dry-run`."""

from pathlib import Path
from typing import Annotated

import typer

from mbert_cli.commands.completion import recipe_or_file
from mbert_cli.commands.options import (
    AsJson,
    Device,
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
from mbert_cli.commands.output import print_json
from mbert_cli.terminal.console import Console


def validate(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="A recipe, or a shipped one's name.", autocompletion=recipe_or_file),
    ] = None,
    settings: Settings = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the run would be kept. Default: runs/RECIPE.")
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Take no steps; time and memory are not estimated then.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Check everything without training, and tell what training would take.

    $ mbert validate my.yaml
    $ mbert validate my.yaml training.batch_size=64

    Recipe, data of every split, encoder, folder and disk are checked, and all that is wrong is told at once; then a few
    steps are taken and forgotten, from which time and memory are estimated. Nothing is written.
    """
    go_offline(offline)
    recipe, chosen = recipe_and_settings(recipe, settings)
    name = recipe or "demo"
    console = Console(quiet, verbose, as_json)
    dry_run(name, chosen, output or default_folder(name), (device, precision, kernels), console, limit, not no_measure)


def dry_run(
    recipe: str,
    settings: list[str],
    output: Path,
    hardware: tuple[str, str, str],
    console: Console,
    limit: int | None,
    measure: bool = True,
) -> None:
    """Check a training and print what it would take.

    Args:
        recipe: a file, or a shipped one's name.
        settings: overrides.
        output: where the run would be kept.
        hardware: device, precision and kernels.
        console: where progress is printed.
        limit: rows of each file at most.
        measure: take a few steps, to know how long they take.
    """
    from mbert_cli.machine.hardware import choose
    from mbert_cli.model.components import load_recipe
    from mbert_cli.training.dry_run import validate
    from mbert_cli.training.options import RunOptions

    loaded = load_recipe(recipe, settings)
    console.show_log()
    estimate = validate(loaded, output, RunOptions(choose(*hardware), console, limit=limit), measure)
    if console.events:
        print_json({"event": "estimate", **estimate.as_json()})
    else:
        typer.echo(f"no problems found; {estimate.line()}")
