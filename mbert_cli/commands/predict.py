"""`mbert predict`."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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

if TYPE_CHECKING:
    from mbert_cli.partial_output import PartialOutput, Stream


def predict(
    run: Run,
    input_file: Annotated[str, typer.Argument(metavar="INPUT", help="A TSV, CSV or JSONL file; - is stdin.")],
    tasks: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="May be repeated. Default: all whose columns INPUT has.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="The output file; - is stdout.")] = "-",
    format_: Annotated[
        Literal["same", "cs224n"], typer.Option("--format", help="The input's own, or the course's submission file.")
    ] = "same",
    quoting: Annotated[Literal["csv", "none"], typer.Option("--quoting", help="none: quotes are plain text.")] = "csv",
    delimiter: Annotated[Literal["auto", "tab", "comma"], typer.Option("--delimiter", help="Of INPUT.")] = "auto",
    fold: Annotated[bool, typer.Option("--fold", help="Fold lora, ia3, bitfit, layer_norm into the weights.")] = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    offline: Offline = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read the first N rows only.")] = None,
    quiet: Quiet = False,
) -> None:
    """Predict a file: every row and column in its order, with the predictions appended.

    $ mbert predict runs/demo new.tsv -o predicted.tsv
    $ head new.tsv | mbert predict runs/demo - -t sentiment

    An output file that is interrupted goes on where it was when the same command is run again.
    """
    from mbert_cli.data.table import Table

    talk = Talk(quiet)
    go_offline(offline)
    if output != "-":
        check_output(Path(output), force, input_file)
    with Table(input_file, quoting, delimiter) as table:
        from mbert_cli.prediction import Predictor, choose_tasks, origin_of, predict_cs224n, predict_table

        tell_of_compiling(talk)
        predictor = Predictor(
            run, device=device, precision=precision, kernels=kernels, batch_size=batch_size, fold=fold
        )
        chosen = choose_tasks(predictor, table, tasks or [])
        if format_ == "cs224n" and len(chosen) != 1:
            raise UsageError(f"--format cs224n holds one task; name it with -t. Fitting here: {', '.join(chosen)}.")
        origin = None if output == "-" else origin_of(predictor, table, chosen, format_, limit)
        with _output(output, origin, force, talk) as out, talk.bar(f"predict {', '.join(chosen)}", limit) as bar:
            done = out.rows
            bar.advance(by=done)
            if format_ == "cs224n":
                pieces = predict_cs224n(predictor, table, chosen[0], out, limit, done)
            else:
                pieces = predict_table(predictor, table, chosen, out, limit, done)
            for count in pieces if not out.finished else ():
                out.commit(count)
                bar.advance(by=count - done)
                done = count
    talk.say(f"predicted {', '.join(chosen)} for {done} rows")


@contextmanager
def _output(
    output: str, origin: Mapping[str, Any] | None, force: bool, talk: Talk
) -> Iterator["PartialOutput | Stream"]:
    """Open the output of a prediction: in pieces that survive, where both input and output are files."""
    from mbert_cli.partial_output import Stream, partial_output

    if output == "-":
        sys.stdout.reconfigure(encoding="utf-8", newline="\n") if hasattr(sys.stdout, "reconfigure") else None
        yield Stream(sys.stdout)
        sys.stdout.flush()
    elif origin is None:
        talk.say(f"{output}: cannot be gone on with if it is interrupted, for the input can be read once only.")
        with replacing(Path(output)) as file:
            yield Stream(file)
    else:
        with partial_output(Path(output), origin, force) as out:
            if out.rows and not out.finished:
                talk.say(f"{output}: going on after {out.rows} rows that were predicted before.")
            yield out
