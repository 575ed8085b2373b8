"""`mbert fuse`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import (
    AsJson,
    BatchSize,
    Device,
    Force,
    Kernels,
    Limit,
    Offline,
    Precision,
    Quiet,
    go_offline,
)
from mbert_cli.commands.output import print_json, print_tables
from mbert_cli.storage.output_folder import OutputFolder
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.evaluation.fuse import Fused, Scored
    from mbert_cli.prediction.predictor import Predictor


def fuse(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs of one recipe, or the folders of their saved models.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the new model.")],
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Leave out runs that lower the score of the mean on dev.")
    ] = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    limit: Limit = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Average the weights of runs of one recipe: a model soup.

    $ mbert fuse runs/a runs/b runs/c -o runs/mean
    $ mbert fuse runs/a runs/b -o runs/mean --greedy

    The new model is as fast as one run. Each run and the new model are scored on the dev files. All runs must have the
    same sizes, tokenizer, pooling, adapters and tasks. Averaging only works for runs that start from the same weights:
    the same encoder and, with training.start_from, the same adapters and heads. Thresholds and temperatures are not
    averaged.
    """
    go_offline(offline)
    folder = OutputFolder(output, force, "mbert fuse", _is_fused).check()

    from mbert_cli.evaluation.fuse import fuse as fuse_runs

    console = Console(quiet)
    console.show_log()

    def load(run: Path) -> "Predictor":
        from mbert_cli.prediction.predictor import Predictor

        return Predictor(run, device=device, precision=precision, kernels=kernels, batch_size=batch_size)

    fused = fuse_runs(runs, folder, load, console, greedy, limit)
    if as_json:
        for row in fused.parts:
            print_json({"run": row.name, "used": row.used, **_scores(row)})
        print_json({"run": str(output), "mean": True, **_scores(fused.mean)})
    else:
        print_tables([_table(fused, output)])
    console.info(f"wrote {output}: the {fused.mean.name} of {len(runs)} runs")


def _is_fused(folder: Path) -> bool:
    """Whether `mbert fuse` has written a folder."""
    from mbert_cli.storage.atomic import read_json
    from mbert_cli.storage.model_folder import is_model_folder

    return is_model_folder(folder) and "fused" in read_json(folder / "config.json")


def _scores(row: "Scored") -> dict[str, object]:
    tasks = row.metrics["tasks"]
    main = {name: {metrics["main_metric"]: metrics[metrics["main_metric"]]} for name, metrics in tasks.items()}
    return {"tasks": main, "overall": row.overall}


def _table(fused: "Fused", output: Path) -> object:
    from mbert_cli.terminal.tables import new_table

    tasks = fused.mean.metrics["tasks"]
    headings = [(f"{name} {metrics['main_metric']}", "right") for name, metrics in tasks.items()]
    table = new_table("run", *headings, ("overall", "right"), "in the mean")

    def add(name: str, row: "Scored", used: str) -> None:
        main = [row.metrics["tasks"][task][metrics["main_metric"]] for task, metrics in tasks.items()]
        table.add_row(name, *(f"{value:.3f}" for value in main), f"{row.overall:.3f}", used)

    for row in fused.parts:
        add(row.name, row, "yes" if row.used else "no")
    table.add_section()
    add(str(output), fused.mean, fused.mean.name)
    return table
