"""`mbert compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import (
    AsJson,
    BatchSize,
    Columns,
    Delimiter,
    Device,
    Force,
    Kernels,
    Limit,
    Offline,
    OnBadRow,
    PredictionPrecision,
    Quiet,
    Quoting,
    go_offline,
    other_columns,
    split_pair,
)
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.errors import UsageError, command_line
from mbert_cli.storage.output_folder import OutputFolder
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN_A RUN_B", help="Two run folders, or the folders of saved models.")
    ],
    tasks: Annotated[
        list[str] | None, typer.Option("--task", "-t", metavar="TASK", help="Compare only this task. May be repeated.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="TASK=FILE",
            help="Predict this file with both runs, instead of the saved predictions for dev. May be repeated.",
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", min=0, max=10_000, help="Show N differing rows of each task.")
    ] = 5,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write a page and all differing rows to this folder."),
    ] = None,
    force: Force = False,
    columns: Columns = None,
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    on_bad_row: OnBadRow = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: PredictionPrecision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare two runs on the same rows: is the difference more than chance?

    $ mbert compare runs/a runs/b
    $ mbert compare runs/a runs/b -o compared

    The predictions for the dev files are those that training has saved. Classes are compared by McNemar's exact test,
    other metrics by a paired bootstrap, with 95 % intervals of the differences. With --data, both runs predict another
    file; only these tasks are compared, unless -t names more.
    """
    if len(runs) != 2:
        raise UsageError(
            f"mbert compare: needs two runs, but got {len(runs)}; {command_line('report')} RUN... shows any number."
        )
    go_offline(offline)
    others = dict(split_pair(pair, "--data TASK=FILE") for pair in data or [])
    if limit is not None and not others:
        raise UsageError("--limit needs --data TASK=FILE: saved predictions are compared as they are.")

    from mbert_cli.reports.pair_folder import COMPARISON, write_comparison

    folder = None
    if output is not None:
        folder = OutputFolder(output, force, "mbert compare -o", lambda at: (at / COMPARISON).is_file()).check()

    from mbert_cli.evaluation.compare_runs import compare_runs
    from mbert_cli.evaluation.options import EvaluationFiles
    from mbert_cli.reports.pair_table import pair_tables

    console = Console(quiet)
    console.show_log()

    def load(run: Path) -> "Predictor":
        from mbert_cli.prediction.predictor import Predictor

        predictor = Predictor(run, device=device, precision=precision, kernels=kernels, batch_size=batch_size)
        names = other_columns(columns, predictor.saved.section)
        predictor.read_files_with(names, quoting=quoting, delimiter=delimiter, on_bad_row=on_bad_row)
        return predictor

    files = EvaluationFiles(others=others, tasks=tasks or [], limit=limit)
    comparison = compare_runs(runs[0], runs[1], load, files, console)
    for note in comparison.notes:
        console.info(note)
    if folder is not None:
        write_comparison(folder, comparison)
        console.info(f"wrote {output}")
    if as_json:
        print_json(comparison.as_json())
    else:
        print_tables(pair_tables(comparison, rows))
