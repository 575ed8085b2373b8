"""`mbert sweep`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.completion import plan_or_file
from mbert_cli.commands.options import AsJson, Device, Kernels, Limit, Offline, Precision, Quiet
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import RecipeError, RunInUseError, UsageError
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.sweeps.plan import Plan


def sweep(
    plan: Annotated[
        str,
        typer.Argument(
            metavar="PLAN",
            autocompletion=plan_or_file,
            help="A plan file, or a name that `mbert recipes ls --plans` lists.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The sweep's folder. Default: sweeps/PLAN.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, max=1000, help="Runs at once; they share the cores.")
    ] = 1,
    table: Annotated[bool, typer.Option("--table", help="Run nothing; print the table of what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run nothing; list the runs and their states.")] = False,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Replace runs begun with another recipe or other options.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train all rows of a table, each with several seeds, and print it.

    $ mbert sweep my-plan.yaml --dry-run
    $ mbert sweep paper_tables_minilm -o sweeps/paper

    The same command run again goes on where it was stopped or killed, tries runs that failed again, and runs rows that
    were added to the plan.
    """
    from mbert_cli.sweeps.figure import draw_scores_or_say
    from mbert_cli.sweeps.folder import SweepFolder
    from mbert_cli.sweeps.formats import write_tables
    from mbert_cli.sweeps.plan import find_plan
    from mbert_cli.sweeps.results import read_results
    from mbert_cli.sweeps.run import Options
    from mbert_cli.sweeps.run_plan import check_failures, run_plan
    from mbert_cli.sweeps.terminal_table import runs_table, sweep_table

    if table and dry_run:
        raise UsageError("--table and --dry-run exclude each other.")
    console = Console(quiet)
    file = find_plan(plan)
    folder = SweepFolder(output or Path("sweeps") / file.stem)
    folder.check_free()
    options = Options(device, precision, kernels, limit, offline)
    planned = _read_plan(file, whole=dry_run)
    runs = folder.runs_of(planned)
    if dry_run:
        print_tables([runs_table(runs, planned.rows, options)])
        return
    if table:
        result = read_results(planned, runs)
        try:
            if folder.plan_file.is_file():
                with folder.locked():
                    write_tables(folder.path, result, draw_scores_or_say(result, console))
        except RunInUseError:
            pass  # the sweep that is going on writes its table itself
        except UsageError as error:
            console.info(str(error))  # it can be looked at nevertheless
    else:
        if not all(run.is_done() for run in runs):
            from mbert_cli.machine.hardware import choose

            planned = _read_plan(file, whole=True)
            choose(device, precision, kernels)  # what is wrong with them is told once, not by every run
        with folder.locked():
            result = run_plan(planned, folder, options, console, jobs, force)
            write_tables(folder.path, result, draw_scores_or_say(result, console))
    print_json(result.as_json()) if as_json else print_tables([sweep_table(result)])
    if not table:
        check_failures(result, folder)


def _read_plan(file: Path, whole: bool) -> "Plan":
    """Read a plan; its components' options and its data's paths are checked only where that is worth loading torch."""
    from mbert_cli.sweeps.plan import read_plan

    if not whole:
        try:
            return read_plan(file, lambda *_: [])
        except RecipeError:
            pass  # all that is wrong is told at once
    from mbert_cli.model.components import problems
    from mbert_cli.training.checks import check_recipe

    return read_plan(file, problems, check_recipe)
