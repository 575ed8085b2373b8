"""`mbert sweep`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.completion import plan_or_file
from mbert_cli.commands.executor import check_engine, check_hardware, executor_of
from mbert_cli.commands.options import (
    Address,
    AsJson,
    Device,
    Engine,
    Jobs,
    Kernels,
    Limit,
    Offline,
    Precision,
    Quiet,
)
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import RecipeError, RunInUseError, UsageError, counted
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
    jobs: Jobs = None,
    engine: Engine = "local",
    address: Address = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing; print the table.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train nothing; list the runs and their states.")] = False,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Replace runs that were started with other settings or files.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train all rows of a plan, each with several seeds, and print a table of the scores.

    $ mbert sweep my-plan.yaml --dry-run
    $ mbert sweep paper_tables_minilm -o sweeps/paper

    Run the same command again to resume runs that were stopped or killed, retry runs that failed, and train rows that
    were added to the plan. With several GPUs, runs at the same time use them in turn. --engine ray trains the runs on
    the machines of a Ray cluster, which share the disk of the sweep's folder; see `mbert guide scale`.

    $ mbert sweep my-plan.yaml -o /shared/sweeps/mine --engine ray --address auto -j 8
    """
    from mbert_cli.sweeps.figure import draw_scores_or_explain
    from mbert_cli.sweeps.folder import SweepFolder
    from mbert_cli.sweeps.formats import write_tables
    from mbert_cli.sweeps.importance import with_importance
    from mbert_cli.sweeps.plan import find_plan
    from mbert_cli.sweeps.results import read_results
    from mbert_cli.sweeps.run import Options
    from mbert_cli.sweeps.run_plan import check_failures, run_plan
    from mbert_cli.sweeps.run_search import is_over, run_search, runs_so_far
    from mbert_cli.sweeps.terminal_table import runs_table, sweep_table

    if table and dry_run:
        raise UsageError("--table and --dry-run cannot be used together.")
    check_engine(engine, address)
    console = Console(quiet)
    file = find_plan(plan)
    path = output or Path("sweeps") / file.stem
    folder = SweepFolder(path.absolute() if engine == "ray" else path)
    folder.check_free()
    options = Options(device, precision, kernels, limit, offline)
    planned = read_plan_file(file, whole=dry_run)
    planned, runs = runs_so_far(planned, folder, jobs or 1)
    if dry_run:
        if planned.search is not None and not is_over(planned, runs):
            most = counted(planned.search.trials, "trial")
            console.info(f"a search of at most {most}: more trials follow, and depend on the scores of the first ones.")
        print_tables([runs_table(runs, planned.rows, options)])
        return
    if table:
        result = with_importance(read_results(planned, runs))
        try:
            if folder.plan_file.is_file():
                with folder.locked():
                    write_tables(folder.path, result, draw_scores_or_explain(result, console))
        except RunInUseError:
            pass  # the running sweep writes its own table
        except UsageError as error:
            console.info(str(error))  # the table is still printed
    else:
        if is_over(planned, runs):
            engine = engine if force else "local"  # there is nothing to train
        else:
            planned = read_plan_file(file, whole=True)
            check_hardware(engine, options)
        with folder.locked(), executor_of(engine, address, jobs, device, console) as executor:
            run = run_plan if planned.search is None else run_search
            result = with_importance(run(planned, folder, options, console, executor, force))
            write_tables(folder.path, result, draw_scores_or_explain(result, console))
    print_json(result.as_json()) if as_json else print_tables([sweep_table(result)])
    if not table:
        check_failures(result, folder)


def read_plan_file(file: Path, whole: bool) -> "Plan":
    """Read a plan. Options of components and paths of data, whose checks load torch, are checked only if needed.

    Args:
        file: the plan file.
        whole: whether to check everything.
    """
    from mbert_cli.sweeps.plan import read_plan

    if not whole:
        try:
            return read_plan(file, lambda *_: [])
        except RecipeError:
            pass  # read again below, to report all problems together
    from mbert_cli.model.components import problems
    from mbert_cli.training.checks import check_recipe

    return read_plan(file, problems, check_recipe)
