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
            metavar="RECIPE or RUN",
            autocompletion=recipe_or_file,
            help="A recipe, a shipped one's name, or a run folder.",
        ),
    ] = None,
    settings: Settings = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--compare", metavar="KINDS", help="Adapters side by side: pal,lora:rank=16,low_rank:budget=5%+top"
        ),
    ] = None,
    num_tasks: Annotated[
        int | None, typer.Option("--tasks", min=1, max=10_000, help="With --compare: for so many tasks.")
    ] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Count parameters by part and task, before any compute is spent.

    $ mbert count-params my.yaml 'adapters[0].rank=64'
    $ mbert count-params --compare pal,low_rank,houlsby,top

    With --compare, several adapters side by side, on the encoder and for the tasks of RECIPE: BERT-base and the paper's
    three by default.
    """
    go_offline(offline)
    from mbert_cli.commands.tables import comparison_tables, count_tables
    from mbert_cli.model.components import load_recipe
    from mbert_cli.model.parameter_count import compare, count

    source, chosen = recipe_and_settings(source, settings)
    if num_tasks is not None and methods is None:
        raise UsageError("--tasks goes with --compare; without it, the recipe's tasks are counted.")
    name = source or ("demo" if methods is None else "paper/hybrid_low_rank_top")
    if (Path(name) / "recipe.yaml").is_file():
        name = str(Path(name) / "recipe.yaml")
    if methods is not None:
        compared = compare(name, chosen, methods, num_tasks)
        print_json(compared.as_json()) if as_json else print_tables(comparison_tables(compared))
        return
    counts = count(load_recipe(name, chosen))
    print_json(counts.as_json()) if as_json else print_tables(count_tables(counts))
