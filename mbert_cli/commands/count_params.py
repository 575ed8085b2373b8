"""`mbert count-params`."""

from pathlib import Path
from typing import Annotated

import typer

from mbert_cli.commands.completion import recipe_or_file
from mbert_cli.commands.options import AsJson, Offline, Settings, go_offline, recipe_and_settings
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError


def count_params(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE|RUN",
            autocompletion=recipe_or_file,
            help="A recipe file, the name of a shipped recipe, or a run folder.",
        ),
    ] = None,
    settings: Settings = None,
    methods: Annotated[
        str | None,
        typer.Option("--compare", metavar="KINDS", help="Compare adapters, such as pal,lora:rank=16,top."),
    ] = None,
    num_tasks: Annotated[
        int | None, typer.Option("--tasks", metavar="N", min=1, max=10_000, help="With --compare: number of tasks.")
    ] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Count parameters by part and task, without training.

    $ mbert count-params my.yaml 'adapters[0].rank=64'
    $ mbert count-params --compare pal,low_rank,houlsby,top

    --compare shows several adapters side by side, for the encoder and the tasks of RECIPE; by default, BERT-base and
    the three tasks of the paper.
    """
    go_offline(offline)
    from mbert_cli.commands.tables import comparison_tables, count_tables
    from mbert_cli.model.components import load_recipe
    from mbert_cli.model.parameter_count import compare, count

    source, chosen = recipe_and_settings(source, settings)
    if num_tasks is not None and methods is None:
        raise UsageError("--tasks requires --compare; otherwise the tasks of the recipe are counted.")
    name = source or ("demo" if methods is None else "paper/hybrid_low_rank_top")
    if (Path(name) / "recipe.yaml").is_file():
        name = str(Path(name) / "recipe.yaml")
    if methods is not None:
        compared = compare(name, chosen, methods, num_tasks)
        print_json(compared.as_json()) if as_json else print_tables(comparison_tables(compared))
        return
    counts = count(load_recipe(name, chosen))
    print_json(counts.as_json()) if as_json else print_tables(count_tables(counts))
