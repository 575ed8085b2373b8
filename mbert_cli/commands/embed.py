"""`mbert embed`."""

from pathlib import Path
from typing import IO, Annotated, Literal, cast

import typer

from mbert_cli.commands.options import (
    BatchSize,
    Device,
    Force,
    Kernels,
    Offline,
    Precision,
    Quiet,
    Run,
    go_offline,
    tell_of_compiling,
)
from mbert_cli.commands.output import check_output, replacing
from mbert_cli.errors import UsageError
from mbert_cli.progress import Talk


def embed(
    run: Run,
    input_file: Annotated[str, typer.Argument(metavar="INPUT", help="A TSV, CSV, JSONL or Parquet file; - is stdin.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file that is written.")],
    task: Annotated[str | None, typer.Option("--task", "-t", help="Whose adapters act.")] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="COLUMN", help="The column of texts. Default: the task's first.")
    ] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Scale each vector to length 1.")] = False,
    quoting: Annotated[Literal["csv", "none"], typer.Option("--quoting", help="none: quotes are plain text.")] = "csv",
    delimiter: Annotated[Literal["auto", "tab", "comma"], typer.Option("--delimiter", help="Of INPUT.")] = "auto",
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read the first N rows only.")] = None,
    quiet: Quiet = False,
) -> None:
    """Write the vectors of sentences as a NumPy file: a row a sentence, float32.

    $ mbert embed runs/demo new.tsv -t sentiment -o v.npy
    $ mbert embed runs/a new.tsv --text title -o v.npy

    They are what the task's head gets: the encoder's hidden states with the task's adapters, pooled.
    """
    from mbert_cli.data.table import Table

    talk = Talk(quiet)
    go_offline(offline)
    check_output(output, force)
    if output.suffix != ".npy":
        raise UsageError(f"{output}: vectors are written as NumPy has them; name a file that ends in .npy.")
    with Table(input_file, quoting, delimiter) as table:
        from mbert_cli.embedding import embed_table
        from mbert_cli.prediction import Predictor

        tell_of_compiling(talk)
        predictor = Predictor(run, device=device, precision=precision, kernels=kernels, batch_size=batch_size)
        section = predictor.saved.task(task or predictor.tasks[0])
        table.names = section.columns
        column = text or section.text[0]
        done = 0
        with replacing(output) as file, talk.bar("embed", limit) as bar:
            for count in embed_table(predictor, table, column, task, cast(IO[bytes], file.buffer), normalise, limit):
                bar.advance(by=count - done)
                done = count
    talk.say(f"wrote {output}: {done} vectors of {predictor.saved.model.encoder.shape.hidden_size} numbers")
