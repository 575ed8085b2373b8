"""`mbert embed`."""

from collections.abc import Mapping
from pathlib import Path
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
    Workers,
    go_offline,
    other_columns,
)
from mbert_cli.machine.collection import collecting_later
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor


def embed(
    run: Run,
    input_file: Annotated[
        str, typer.Argument(metavar="INPUT", help="A TSV, CSV, JSONL or Parquet file or URL; - is stdin.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The output file: .npy or .parquet.")],
    task: Annotated[
        str | None, typer.Option("--task", "-t", metavar="TASK", help="Use the adapters of this task.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="COLUMN", help="Embed only this column. Default: see above."),
    ] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Scale each vector to length 1.")] = False,
    columns: Columns = None,
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    strict_length: StrictLength = False,
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
) -> None:
    """Write a vector for each row of a file, to a NumPy or Parquet file, in float32.

    $ mbert embed runs/demo new.tsv -t sentiment -o v.npy
    $ mbert embed runs/a new.tsv --text title -o v.parquet

    A vector is the input of the task's head: the pooled hidden states of the encoder with the adapters of the task. For
    pairs it is the vector of both texts in one sequence if the head reads pairs so, as the dual heads do as well;
    otherwise it is the vector of the first text, and --text COLUMN embeds the other. A Parquet file (extra [parquet])
    also has the columns of the input, as text; the column of the vectors is `embedding`.

    --shard 2/7 embeds the second of seven parts: contiguous rows, whose numbers differ by at most one between parts. If
    a part is interrupted, the same command continues it. --devices divides the rows among processes on this machine, as
    torchrun does, and joins the parts. --engine ray does the same on a Ray cluster. See `mbert guide scale`.
    """
    from mbert_cli.prediction.divided_files import is_joined
    from mbert_cli.prediction.embed_file import EmbedOptions, check_vector_file, embed_file
    from mbert_cli.prediction.input_files import check_file, plain_path
    from mbert_cli.prediction.shard import parse_shard
    from mbert_cli.storage.model_folder import model_section

    console = Console(quiet)
    go_offline(offline)
    division = Division(devices, device, engine, address, workers, shard)

    def prepare() -> tuple[dict[str, str], EmbedOptions]:
        division.check()
        own_input = plain_path(input_file)
        own_shard = parse_shard(shard, [own_input], str(output))
        if division.by:
            check_file(own_input, division.by)
        # What an interrupted command has joined already is replaced by the same bytes.
        was_joined = bool(division.by) and is_joined(output)
        check_vector_file(output, force or was_joined, own_input if own_shard else None)
        options = EmbedOptions(
            task=task,
            text=text,
            normalise=normalise,
            columns=other_columns(columns, model_section(run)),
            quoting=quoting,
            delimiter=delimiter,
            limit=limit,
            strict_length=strict_length,
            force=force,
            shard=own_shard,
        )
        return {own_input: str(output)}, options

    model: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "kernels": kernels,
        "batch_size": batch_size,
        "encoder": encoder,
    }

    def load() -> "Predictor":
        console.show_log()
        with collecting_later():
            from mbert_cli.prediction.predictor import Predictor

            return Predictor(run, **model)

    def embed_here(files: Mapping[str, str], options: EmbedOptions) -> None:
        for note in embed_file(next(iter(files)), output, model_section(run), load, options, console):
            console.info(note)

    compute(division, run, prepare, model, embed_here, console)
