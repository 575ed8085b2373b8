"""`mbert report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import AsJson, Force, Quiet
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError
from mbert_cli.storage.output_file import check_output, replacing
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.reports.run_report import RunReport


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, finished or still training.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Also write a page (.html) or a table (.tsv) to this file."
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs with each other, and with the published scores in their recipes.

    $ mbert report runs/demo -o report.html
    $ mbert report runs/a runs/b -o runs.tsv

    The page is a single file with curves, confusion matrices, the most confident errors, and the differences between
    the recipes. It works without a network.
    """
    from mbert_cli.reports.run_report import read_runs
    from mbert_cli.reports.run_table import report_table, write_report

    console = Console(quiet)
    is_page = output is not None and output.suffix.lower() in (".html", ".htm")
    if output is not None:
        if not is_page and output.suffix.lower() != ".tsv":
            raise UsageError(f"{output}: is neither a page nor a table; end the name in .html or .tsv.")
        check_output(output, force)
    reports = read_runs(runs)
    if output is not None:
        text = _page(reports) if is_page else None
        with replacing(output) as file:
            write_report(file, reports) if text is None else file.write(text)
        console.info(f"wrote {output}")
    if as_json:
        for each in reports:
            print_json(each.as_json())
    else:
        print_tables([report_table(reports)])
        for note in filter(None, (each.note for each in reports)):
            console.info(note)
        if output is None:
            console.info("-o report.html writes a page with curves, confusion matrices and the most confident errors.")


def _page(runs: "list[RunReport]") -> str:
    # Imported only if a page is written, because it is slow.
    from mbert_cli.reports.page import report_page

    return report_page(runs)
