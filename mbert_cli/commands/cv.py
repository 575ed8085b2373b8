"""`mbert cv`."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    RecipeOrDemo,
    Settings,
    go_offline,
    recipe_and_settings,
)
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import MbertError, RecipeError
from mbert_cli.terminal.console import Console

_SET_HERE = {
    r"tasks\.[\w-]+\.fold(\..*)?": "mbert cv sets the fold of each run; divide the rows with --folds, --group, "
    "--stratify, --limit and training.seed."
}

if TYPE_CHECKING:
    from mbert_cli.recipe.sections import Recipe
    from mbert_cli.sweeps.folds import FoldsFolder
    from mbert_cli.sweeps.plan import Plan
    from mbert_cli.sweeps.results import SweepResult


def cv(
    recipe: RecipeOrDemo = None,
    settings: Settings = None,
    folds: Annotated[int, typer.Option("--folds", metavar="N", min=2, max=1000, help="Number of folds.")] = 5,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="[TASK=]COLUMN",
            help="Keep rows with the same value of this column in one fold. May be repeated.",
        ),
    ] = None,
    stratify: Annotated[
        bool,
        typer.Option("--stratify", help="Give each fold the same number of rows and the same share of each class."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The folder of the cross-validation. Default: cv/RECIPE."),
    ] = None,
    jobs: Jobs = None,
    engine: Engine = "local",
    address: Address = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train nothing; check the files, and print the rows of each fold.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Replace folds that were started with other settings or files.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Cross-validate a recipe: train it once for each fold of the training rows, and score the rows of the fold.

    $ mbert cv my.yaml --folds 5 --stratify
    $ mbert cv my.yaml --group user -o cv/by-user

    Prints mean and deviation of each score over the folds, and writes the prediction of each training row by the model
    that was not trained on it. The recipe's dev files are not used. Run the same command again to continue.
    """
    from mbert_cli.recipe.overrides import check_free_to_change
    from mbert_cli.recipe.shipped import default_folder
    from mbert_cli.sweeps.cross_validation import result_of
    from mbert_cli.sweeps.fold_tables import facts_table, fold_tables, write_fold_tables
    from mbert_cli.sweeps.folds import FoldsFolder
    from mbert_cli.sweeps.run import Options
    from mbert_cli.sweeps.run_plan import check_failures, run_plan

    check_engine(engine, address)
    go_offline(offline)
    console = Console(quiet)
    recipe, chosen = recipe_and_settings(recipe, settings)
    check_free_to_change(chosen, _SET_HERE)
    name = recipe or "demo"
    path = output or Path("cv", *default_folder(name).parts[1:])
    folder = FoldsFolder(path.absolute() if engine == "ray" else path)
    folder.check_free()
    options = Options(device, precision, kernels, offline=offline)
    division = {"folds": folds, "words": group or [], "stratify": stratify, "limit": limit}
    plan = _plan(name, chosen, division, dry_run, console)
    runs = folder.runs_of(plan)
    is_done = all(run.is_done() and not run.changes(options) for run in runs)
    if is_done and not dry_run:
        engine = "local"  # there is nothing to train
    else:
        if not dry_run:  # otherwise it is checked already
            plan = _plan(name, chosen, division, True, console)
            runs = folder.runs_of(plan)
        check_hardware(engine, options)
    facts = _facts(folder, plan.rows[0].recipe, is_done and not dry_run, console)
    if dry_run:
        print_json(facts) if as_json else print_tables([facts_table(facts)])
        return

    def write(at: Path, sweep: "SweepResult") -> None:
        write_fold_tables(at, result_of(sweep, facts, at))

    with folder.locked(), executor_of(engine, address, jobs, device, console) as executor:
        if not is_done:
            folder.start(runs, options, facts, force)
        sweep = run_plan(plan, folder, options, console, executor, force, write)
        result = result_of(sweep, facts, folder.path)
        write_fold_tables(folder.path, result)
    print_json(result.as_json()) if as_json else print_tables([fold_tables(result)])
    check_failures(sweep, folder)
    console.info(f"wrote {folder.path}")


def _plan(name: str, settings: list[str], division: Mapping[str, Any], whole: bool, console: Console) -> "Plan":
    """Return the folds of a recipe. Options of components and paths, whose checks load torch, are checked if needed.

    Args:
        name: a recipe file, or the name of a shipped recipe.
        settings: `key=value` overrides.
        division: `folds`, `stratify`, `limit`, and `words`, the values of --group.
        whole: whether to check everything.
        console: prints notes.
    """
    from mbert_cli.recipe.reader import load
    from mbert_cli.recipe.shipped import find
    from mbert_cli.sweeps.folds import group_notes, groups_of, plan_of

    recipe: Recipe | None = None
    if not whole:
        with suppress(RecipeError):  # read again below, to report all problems together
            recipe = load(find(name), settings, lambda *_: [])
    if recipe is None:
        from mbert_cli.model.components import load_recipe
        from mbert_cli.training.fold_facts import selection_note

        recipe = load_recipe(name, settings)
        note = selection_note(recipe)
        if note is not None:
            console.info(f"{note}.")
    groups = groups_of(recipe, division["words"])
    for note in group_notes(groups) if whole else ():
        console.info(f"{note}.")
    return plan_of(
        recipe, f"Cross-validation of {name}", division["folds"], groups, division["stratify"], division["limit"]
    )


def _facts(folder: "FoldsFolder", recipe: "Recipe", saved: bool, console: Console) -> dict[str, Any]:
    """Return the facts about the folds: those that were saved when the folds started, or else from the files."""
    from mbert_cli.storage.atomic import read_json

    if saved:
        with suppress(MbertError):  # the file is missing or damaged
            return read_json(folder.facts_file)
    from mbert_cli.training.checks import check_recipe
    from mbert_cli.training.fold_facts import fold_facts

    check_recipe(recipe)
    facts = fold_facts(recipe, console)
    for own in facts.values():
        for warning in own["warnings"]:
            console.info(f"{warning}.")
    return json.loads(json.dumps(facts))
