"""`mbert push`."""

from typing import Annotated

import typer

from mbert_cli.commands.options import AsJson, Encoder, Offline, Quiet, Run, go_offline
from mbert_cli.commands.output import print_json
from mbert_cli.errors import counted
from mbert_cli.terminal.console import Console


def push(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The repository on the Hub: OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private if it is new.")] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="BRANCH", help="The branch. Default: main.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files; upload nothing.")] = False,
    encoder: Encoder = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Upload a model, or a task folder, to the Hugging Face Hub.

    $ mbert push runs/demo me/moods --dry-run
    $ mbert push runs/demo me/moods --private

    Uploads the folder model/ of the run with its model card, but no training state and no data; paths of data files are
    reduced to file names. An encoder in a local folder is uploaded, too. The token comes from `hf auth login` or
    HF_TOKEN.
    """
    go_offline(offline)

    from mbert_cli.export.hub import push_model

    console = Console(quiet)
    with console.status(f"uploading to {name}"):
        address, files = push_model(run, name, private, revision, dry_run, encoder)
    console.info(f"{'would upload' if dry_run else 'uploaded'} {counted(len(files), 'file')} to {address}")
    if as_json:
        print_json({"address": address, "files": files, "dry_run": dry_run})
    elif dry_run:
        for file in files:
            typer.echo(file)
