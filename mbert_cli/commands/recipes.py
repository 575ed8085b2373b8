"""`mbert recipes ls`, `cat`, `cp` and `schema`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mbert_cli.commands.completion import recipe_or_file
from mbert_cli.commands.help_text import Command, Group, help_text, summary
from mbert_cli.commands.options import Force, Quiet
from mbert_cli.errors import command_line
from mbert_cli.storage.output_file import check_output, replacing
from mbert_cli.terminal.console import Console

app = typer.Typer(cls=Group, help="List, print and copy the recipes that come with mbert.", no_args_is_help=True)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The name of a shipped recipe, or a recipe file.", autocompletion=recipe_or_file
    ),
]


def recipes_ls(
    plans: Annotated[bool, typer.Option("--plans", help="List the plans for mbert sweep instead.")] = False,
) -> None:
    """List the recipes with their descriptions, separated by tabs if the output is not a terminal.

    $ mbert recipes ls | grep pal
    $ mbert recipes ls --plans
    """
    from mbert_cli.recipe.shipped import PLANS, description, plan_names, shipped_names

    names = {name: f"{PLANS}/{name}" for name in plan_names()} if plans else {name: name for name in shipped_names()}
    descriptions = {name: description(path) for name, path in names.items()}
    if not sys.stdout.isatty():
        for name, text in descriptions.items():
            typer.echo(f"{name}\t{text}")
        return
    from mbert_cli.commands.output import print_tables
    from mbert_cli.terminal.tables import key_values

    print_tables([key_values(descriptions)])


def recipes_cat(
    name: _Name,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Merge the recipes that it extends, and show all defaults.")
    ] = False,
) -> None:
    """Print a recipe.

    $ mbert recipes cat demo
    $ mbert recipes cat paper/hybrid_low_rank_top --resolved
    """
    from mbert_cli.recipe.shipped import find

    if resolved:
        from mbert_cli.model.components import load_recipe

        text = load_recipe(name).to_yaml()
    else:
        text = find(name).read_text(encoding="utf-8")
    typer.echo(text, nl=False)


def recipes_cp(
    name: _Name,
    target: Annotated[Path | None, typer.Argument(metavar="FILE", help="The new file. Default: NAME.yaml.")] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Copy a recipe to a file that you can edit.

    $ mbert recipes cp demo
    $ mbert recipes cp demo mine.yaml

    The recipes that it extends are merged into the file. Only the comment at the top is kept.
    """
    from mbert_cli.recipe.recipe_file import merged_text
    from mbert_cli.recipe.shipped import find

    source = find(name)
    path = target or Path(source.name)
    check_output(path, force)
    with replacing(path) as file:
        file.write(merged_text(source))
    Console(quiet).info(f"wrote {path}; train it with: {command_line('train', path)}")


def recipes_schema(
    plans: Annotated[bool, typer.Option("--plans", help="Print the schema of plans for mbert sweep instead.")] = False,
) -> None:
    """Print the JSON Schema of recipes, for completion and checks in editors.

    $ mbert recipes schema > mbert.schema.json
    $ mbert recipes schema --plans > plan.schema.json
    """
    if plans:
        from mbert_cli.sweeps.plan_schema import plan_schema

        typer.echo(json.dumps(plan_schema(), indent=2))
        return
    from mbert_cli.authoring.json_schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


_COMMANDS: dict[str, Callable[..., None]] = {
    "ls": recipes_ls,
    "cat": recipes_cat,
    "cp": recipes_cp,
    "schema": recipes_schema,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=Command, help=help_text(_command), short_help=summary(_command))(_command)
