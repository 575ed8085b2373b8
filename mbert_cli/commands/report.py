"""`mbert report`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mbert_cli.commands.options import AsJson, Force
from mbert_cli.commands.output import check_output, print_tables, replacing


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, finished or still training.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this TSV file as well.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs, and each with the published scores that its recipe names.

    $ mbert report runs/demo
    $ mbert report runs/a runs/b -o runs.tsv
    """
    from mbert_cli.report_tables import report_table, write_report
    from mbert_cli.reporting import read_runs

    if output is not None:
        check_output(output, force)
    found = read_runs(runs)
    if output is not None:
        with replacing(output) as file:
            write_report(file, found)
    typer.echo(json.dumps([each.as_json() for each in found], indent=2)) if as_json else print_tables(
        [report_table(found)]
    )
