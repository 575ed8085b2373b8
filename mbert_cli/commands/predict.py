"""`mbert predict`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbert_cli.commands.division import Division, compute
from mbert_cli.commands.options import (
    Address,
    BatchSize,
    Columns,
    Delimiter,
    Device,
    Devices,
    Encoder,
    Engine,
    FirstRows,
    Force,
    Kernels,
    Offline,
    PredictionPrecision,
    Quiet,
    Quoting,
    Run,
    ShardOption,
    StrictLength,
    Verbose,
    Workers,
    go_offline,
    other_columns,
)
from mbert_cli.machine.collection import collecting_later
from mbert_cli.prediction.output_formats import FORMAT_HELP, FormatName, kept_columns
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor


def predict(
    run: Run,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="TSV, CSV, JSONL or Parquet files or URLs; - is stdin."),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "-t",
            metavar="TASK",
            help="Predict only this task. May be repeated. Default: every task whose columns are in INPUT.",
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUTPUT",
            help="A .tsv, .csv, .jsonl or .parquet file, which may be .gz; - is stdout. For several inputs: a folder.",
        ),
    ] = "-",
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="COLUMNS",
            help="Columns of INPUT to write, such as id,text, or none. Default: all columns.",
        ),
    ] = None,
    columns: Columns = None,
    format_: Annotated[FormatName, typer.Option("--format", help=FORMAT_HELP)] = "same",
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    strict_length: StrictLength = False,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold", help="Fold adapters that change linear operations into the weights; see mbert guide adapters."
        ),
    ] = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: PredictionPrecision = "auto",
    kernels: Kernels = "auto",
    encoder: Encoder = None,
    offline: Offline = False,
    limit: FirstRows = None,
    shard: ShardOption = None,
    devices: Devices = None,
    engine: Engine = "local",
    address: Address = None,
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Predict files; the output has all rows and columns of the input, with the predictions appended.

    $ mbert predict runs/demo new.tsv -o predicted.tsv
    $ head new.tsv | mbert predict runs/demo - -t sentiment

    If a prediction to a file is interrupted, the same command continues it. For several inputs, -o is a folder; each
    output has the name of its input. An input that cannot be read does not stop the others. Inputs can also be folders,
    patterns, and URLs such as s3://bucket/new.tsv; see `mbert guide files`.

    --precision auto chooses int8 on x86 CPUs if `mbert evaluate --accept-int8` accepted it for this model. Otherwise,
    it chooses bf16 if the device has instructions for bf16, and fp32 if not.

    --shard 2/7 predicts the second of seven parts: contiguous rows, whose numbers differ by at most one between parts.
    The parts can be predicted by seven processes on any machines; see `mbert guide scale`. --devices divides the rows
    among processes on this machine, as torchrun does, and joins the parts. --engine ray does the same on a Ray cluster.

    $ mbert predict runs/demo new.tsv -o predicted.tsv --devices 2
    $ mbert predict runs/demo 'tables/*.parquet' -o predicted --engine ray --workers 2
    """
    from mbert_cli.prediction.input_files import divided_outputs, input_files
    from mbert_cli.prediction.output_paths import output_paths
    from mbert_cli.prediction.predict_files import PredictOptions, predict_files
    from mbert_cli.prediction.shard import parse_shard
    from mbert_cli.storage.model_folder import model_section

    console = Console(quiet, verbose)
    go_offline(offline)
    division = Division(devices, device, engine, address, workers, shard)

    def prepare() -> tuple[dict[str, str], PredictOptions]:
        kept = kept_columns(keep, format_)
        division.check()
        names, are_expanded = input_files(inputs)
        own_shard = parse_shard(shard, names, output)
        if division.by:
            files = divided_outputs(names, are_expanded, output, force, format_, division.by)
        else:
            files = dict(zip(names, output_paths(names, output, force, format_, are_expanded), strict=True))
        options = PredictOptions(
            tasks=tasks or [],
            columns=other_columns(columns, model_section(run)),
            quoting=quoting,
            delimiter=delimiter,
            limit=limit,
            strict_length=strict_length,
            format=format_,
            kept=kept,
            force=force,
            shard=own_shard,
        )
        return files, options

    model: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "kernels": kernels,
        "batch_size": batch_size,
        "fold": fold,
        "encoder": encoder,
    }

    def load() -> "Predictor":
        console.show_log()
        with collecting_later():
            from mbert_cli.prediction.accepted_int8 import load_to_predict

            return load_to_predict(run, model, console)

    def predict_here(files: Mapping[str, str], options: PredictOptions) -> None:
        predict_files(files, model_section(run), load, options, console)

    compute(division, run, prepare, model, predict_here, console)
