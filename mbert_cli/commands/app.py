"""The Typer application with all commands. It does not import torch, so that `mbert --help` is fast."""

from collections.abc import Callable
from typing import Annotated

import typer

from mbert_cli import __version__
from mbert_cli.commands import recipes, tasks
from mbert_cli.commands.add_task import add_task
from mbert_cli.commands.compare import compare
from mbert_cli.commands.count_params import count_params
from mbert_cli.commands.cv import cv
from mbert_cli.commands.embed import embed
from mbert_cli.commands.evaluate import evaluate
from mbert_cli.commands.export import export
from mbert_cli.commands.fuse import fuse
from mbert_cli.commands.guide import guide
from mbert_cli.commands.help_text import CONTEXT, MARKUP, Command, Group, help_text, summary
from mbert_cli.commands.info import info
from mbert_cli.commands.init import init
from mbert_cli.commands.join import join
from mbert_cli.commands.predict import predict
from mbert_cli.commands.push import push
from mbert_cli.commands.report import report
from mbert_cli.commands.sweep import sweep
from mbert_cli.commands.train import train
from mbert_cli.commands.validate import validate

app = typer.Typer(
    name="mbert",
    cls=Group,
    help="One BERT encoder, fine-tuned for many sentence tasks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    rich_markup_mode=MARKUP,
)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"mbert {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


_COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "validate": validate,
    "train": train,
    "add-task": add_task,
    "evaluate": evaluate,
    "report": report,
    "compare": compare,
    "fuse": fuse,
    "cv": cv,
    "sweep": sweep,
    "predict": predict,
    "embed": embed,
    "join": join,
    "export": export,
    "push": push,
    "count-params": count_params,
    "info": info,
    "guide": guide,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=Command, help=help_text(_command), short_help=summary(_command))(_command)
app.add_typer(recipes.app, name="recipes", short_help=recipes.app.info.help)
app.add_typer(tasks.app, name="tasks", short_help=tasks.app.info.help)
