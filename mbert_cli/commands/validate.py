"""`mbert validate`, and the option --dry-run of `mbert train` and `mbert add-task`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import (
    AsJson,
    Device,
    Kernels,
    Limit,
    Offline,
    Precision,
    Quiet,
    RecipeOrDemo,
    Settings,
    Verbose,
    go_offline,
    recipe_and_settings,
)
from mbert_cli.commands.output import print_json
from mbert_cli.errors import UsageError, counted
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.recipe.sections import Recipe
    from mbert_cli.training.options import RunOptions


def validate(
    recipe: RecipeOrDemo = None,
    settings: Settings = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run folder. Default: runs/RECIPE.")
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Skip the trial steps; time and memory are then not estimated.")
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
    """Check a recipe and its data without training, and estimate time, memory and disk.

    $ mbert validate my.yaml
    $ mbert validate my.yaml training.batch_size=64

    Checks the recipe, the data of every split, the encoder, the folder and the disk, and reports all problems at once.
    Then takes a few steps to estimate time and memory. Writes nothing. PLAN for mbert sweep in place of RECIPE: checks
    the plan and the recipes of its rows.
    """
    from mbert_cli.recipe.shipped import default_folder
    from mbert_cli.sweeps.plan import is_plan

    go_offline(offline)
    recipe, chosen = recipe_and_settings(recipe, settings)
    name = recipe or "demo"
    if is_plan(name):
        _validate_plan(name, chosen, as_json)
        return
    console = Console(quiet, verbose, as_json)
    folder = output or default_folder(name)
    print_estimate(name, chosen, folder, (device, precision, kernels), console, limit, not no_measure)


def _validate_plan(name: str, settings: list[str], as_json: bool) -> None:
    """Check a plan and the recipes of its rows, or of the ends of its ranges; data and encoder are not read.

    Raises:
        UsageError: there are settings, which belong into the plan; or Optuna is missing.
    """
    from mbert_cli.commands.sweep import read_plan_file
    from mbert_cli.sweeps.plan import find_plan
    from mbert_cli.sweeps.trials import check_optuna

    if settings:
        raise UsageError(
            f"{name} is a plan, but '{settings[0]}' changes a recipe; write it into the plan's `settings`."
        )
    plan = read_plan_file(find_plan(name), whole=True)
    if plan.search is not None:
        check_optuna()
        ranges = counted(len(plan.search.ranges), "range")
        contents = f"a search over {ranges}, at most {counted(plan.search.trials, 'trial')}"
    else:
        runs = sum(len(row.seeds) for row in plan.rows)
        contents = f"{counted(len(plan.rows), 'row')} with {counted(runs, 'run')}"
    listed = "them" if plan.search is None else "the first ones"
    if as_json:
        print_json({"event": "plan", "title": plan.title, "contents": contents})
    else:
        typer.echo(f"no problems found; {contents}; `mbert sweep {name} --dry-run` lists {listed}")


def print_estimate(
    recipe: str,
    settings: list[str],
    output: Path,
    hardware: tuple[str, str, str],
    console: Console,
    limit: int | None,
    measure: bool = True,
) -> None:
    """Check a training run, and print an estimate of its time, memory and disk.

    Args:
        recipe: a recipe file, or the name of a shipped recipe.
        settings: `key=value` overrides.
        output: the run folder.
        hardware: device, precision and kernels.
        console: where progress is printed.
        limit: maximum number of rows read from each file.
        measure: take a few steps to estimate time and memory.
    """
    from mbert_cli.machine.hardware import choose
    from mbert_cli.model.components import load_recipe
    from mbert_cli.training.options import RunOptions

    loaded = load_recipe(recipe, settings)
    console.show_log()
    print_estimate_of(loaded, output, RunOptions(choose(*hardware), console, limit=limit), measure)


def print_estimate_of(recipe: "Recipe", output: Path | None, options: "RunOptions", measure: bool = True) -> None:
    """Check a training run, and print an estimate of its time, memory and disk.

    Args:
        recipe: the recipe.
        output: the run folder; None if it is not chosen yet.
        options: how to train.
        measure: take a few steps to estimate time and memory.
    """
    from mbert_cli.training.dry_run import validate

    console, estimate = options.console, validate(recipe, output, options, measure)
    if console.events:
        print_json({"event": "estimate", **estimate.as_json()})
    else:
        typer.echo(f"no problems found; {estimate.line()}")
