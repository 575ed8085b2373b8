"""`mbert embed`."""

import shlex
from contextlib import closing
from pathlib import Path
from typing import IO, Annotated, cast

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
from mbert_cli.commands.output import check_output, replacing
from mbert_cli.errors import UsageError
from mbert_cli.terminal.console import Console


def embed(
    run: Run,
    input_file: Annotated[str, typer.Argument(metavar="INPUT", help="A TSV, CSV, JSONL or Parquet file; - is stdin.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file that is written: .npy or .parquet.")],
    task: Annotated[str | None, typer.Option("--task", "-t", help="Whose adapters act.")] = None,
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
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read the first N rows only.")] = None,
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
    from mbert_cli.data.file_settings import input_settings
    from mbert_cli.data.table import Table
    from mbert_cli.storage.run_folder import RunFolder

    console = Console(quiet)
    go_offline(offline)
    check_output(output, force)
    if output.suffix not in (".npy", ".parquet"):
        raise UsageError(f"{output}: vectors are written for NumPy or as Parquet; end the name in .npy or .parquet.")
    model = RunFolder(run).model_section()
    given = other_columns(columns, model)
    own = {name: each for name, each in model.tasks.items() if name == task} or model.tasks
    settings = input_settings(input_file, own, quoting, delimiter)
    with Table(input_file, settings.quoting, settings.delimiter) as table:
        from mbert_cli.data.parquet_output import check_pyarrow, is_parquet
        from mbert_cli.data.vectors import NumpyVectors, ParquetVectors, VectorFile

        if is_parquet(output):
            check_pyarrow(output)

        from mbert_cli.prediction.embed_table import embed_table
        from mbert_cli.prediction.predictor import Predictor

        console.show_log()
        predictor = Predictor(
            run, device=device, precision=precision, kernels=kernels, batch_size=batch_size, encoder=encoder
        )
        task = predictor.task_to_embed(task)
        section = predictor.saved.task(task)
        table.names = {**section.columns, **given}
        read = [text] if text else predictor.columns_to_embed(task)
        truncation = predictor.truncation(strict_length)
        hidden, done = predictor.saved.model.encoder.shape.hidden_size, 0
        with replacing(output) as file, console.bar("embed", limit) as bar:
            data = cast(IO[bytes], file.buffer)
            out: VectorFile
            out = NumpyVectors(data, hidden) if output.suffix == ".npy" else ParquetVectors(data, table, hidden)
            with closing(out):
                for count in embed_table(predictor, table, read, task, out, normalise, limit, truncation):
                    bar.advance(by=count - done)
                    done = count
        ignored = [] if text else [name for name in section.text[len(read) :] if table.has(name)]
    together = " as one sequence" if len(read) > 1 else ""
    console.info(f"wrote {output}: {done} vectors of {hidden} numbers, of {' and '.join(read)}{together}")
    for other in ignored:
        option = shlex.join(["--text", other])
        console.info(f"task {task} reads {read[0]} and {other} apart; {other} is not embedded: {option} embeds it.")
    if text and text in section.text and predictor.reads_pairs_as_one(task):
        console.info(f"task {task} reads its two texts as one sequence: its head never sees {text} alone.")
    for warning in table.warnings:
        console.info(warning)
    if note := truncation.note():
        console.info(note)
