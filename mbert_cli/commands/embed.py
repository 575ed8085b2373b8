"""`mbert embed`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbert_cli.commands.options import (
    BatchSize,
    Columns,
    Delimiter,
    Device,
    Encoder,
    Force,
    Kernels,
    Offline,
    Precision,
    Quiet,
    Quoting,
    Run,
    StrictLength,
    go_offline,
    other_columns,
)
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor


def embed(
    run: Run,
    input_file: Annotated[str, typer.Argument(metavar="INPUT", help="A TSV, CSV, JSONL or Parquet file; - is stdin.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file that is written: .npy or .parquet.")
    ],
    task: Annotated[str | None, typer.Option("--task", "-t", metavar="TASK", help="Whose adapters act.")] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="COLUMN", help="Embed this column's texts alone. Default: see above."),
    ] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Scale each vector to length 1.")] = False,
    columns: Columns = None,
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    strict_length: StrictLength = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    encoder: Encoder = None,
    offline: Offline = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Read the first N rows only.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the vectors of a file's rows as a NumPy or Parquet file, float32.

    $ mbert embed runs/demo new.tsv -t sentiment -o v.npy
    $ mbert embed runs/a new.tsv --text title -o v.parquet

    They are what the task's head gets: the encoder's hidden states with the task's adapters, pooled. Of a pair that is
    both texts in one sequence, where the head reads them so (also the dual heads); otherwise it is the first text, and
    --text COLUMN embeds the other.
    Parquet (extra [parquet]) keeps the input's columns as text and adds `embedding`.
    """
    from mbert_cli.prediction.embed_file import EmbedOptions, check_vector_file, embed_file
    from mbert_cli.storage.model_folder import model_section

    console = Console(quiet)
    go_offline(offline)
    check_vector_file(output, force)
    section = model_section(run)
    options = EmbedOptions(
        task=task,
        text=text,
        normalise=normalise,
        columns=other_columns(columns, section),
        quoting=quoting,
        delimiter=delimiter,
        limit=limit,
        strict_length=strict_length,
    )

    def load() -> "Predictor":
        from mbert_cli.prediction.predictor import Predictor

        console.show_log()
        return Predictor(
            run, device=device, precision=precision, kernels=kernels, batch_size=batch_size, encoder=encoder
        )

    for note in embed_file(input_file, output, section, load, options, console):
        console.info(note)
