"""`mbert predict`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    Verbose,
    go_offline,
    other_columns,
)
from mbert_cli.commands.output import check_output, replacing
from mbert_cli.errors import DataError, UsageError, counted
from mbert_cli.storage.disk import disk_errors
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.data.parquet_output import ParquetSink
    from mbert_cli.data.table import Table
    from mbert_cli.data.text_format import TextFormat
    from mbert_cli.prediction.predictor import Predictor
    from mbert_cli.storage.resumable_output import PartialOutput, Stream


@dataclass(frozen=True)
class _Request:
    """What the command line asks of every input."""

    tasks: Sequence[str]
    format: str
    limit: int | None
    kept: Sequence[str] | None
    strict_length: bool
    force: bool


def predict(
    run: Run,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="TSV, CSV, JSONL or Parquet files, also .gz; - is stdin.")
    ],
    tasks: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="May be repeated. Default: all whose columns INPUT has.")
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The output file, .tsv, .csv, .jsonl or .parquet, also .gz; - is stdout. Of several inputs: a folder.",
        ),
    ] = "-",
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="COLUMNS", help="Write id,text of INPUT only, or none. Default: all columns."),
    ] = None,
    columns: Columns = None,
    format_: Annotated[
        Literal["same", "cs224n"], typer.Option("--format", help="The input's own, or the course's submission file.")
    ] = "same",
    quoting: Quoting = None,
    delimiter: Delimiter = None,
    strict_length: StrictLength = False,
    fold: Annotated[bool, typer.Option("--fold", help="Fold lora, ia3, bitfit, layer_norm into the weights.")] = False,
    force: Force = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    kernels: Kernels = "auto",
    encoder: Encoder = None,
    offline: Offline = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read the first N rows only.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Predict files: every row and column in its order, with the predictions appended.

    $ mbert predict runs/demo new.tsv -o predicted.tsv
    $ head new.tsv | mbert predict runs/demo - -t sentiment

    An output file that is interrupted goes on where it was when the same command is run again. Several inputs go to
    files of their names in the folder -o; one that cannot be read does not stop the others.
    """
    from mbert_cli.data.file_settings import input_settings
    from mbert_cli.data.table import Table
    from mbert_cli.storage.run_folder import RunFolder

    console = Console(quiet, verbose)
    go_offline(offline)
    kept = None if keep is None else [name.strip() for name in keep.split(",") if name.strip()]
    if kept == ["none"]:
        kept = []
    if kept is not None and format_ == "cs224n":
        raise UsageError("--keep: --format cs224n has columns of its own; leave one of them out.")
    request = _Request(tasks or [], format_, limit, kept, strict_length, force)
    predictor: Predictor | None = None
    problems: list[str] = []
    targets = _targets(inputs, output, force)
    _check_parquet(targets, format_)
    section = RunFolder(run).model_section()
    given = other_columns(columns, section)
    own = {name: section.tasks[name] for name in tasks or section.tasks if name in section.tasks}
    for path, target in zip(inputs, targets, strict=True):
        try:
            settings = input_settings(path, own or section.tasks, quoting, delimiter)
            with Table(path, settings.quoting, settings.delimiter, given) as table:
                console.detail(table.description)
                _text_format(table, target, format_)
                if predictor is None:
                    from mbert_cli.prediction import predictor as prediction

                    console.show_log()
                    predictor = prediction.Predictor(
                        run,
                        device=device,
                        precision=precision,
                        kernels=kernels,
                        batch_size=batch_size,
                        fold=fold,
                        encoder=encoder,
                    )
                _predict(predictor, table, target, request, len(inputs) > 1, console)
        except DataError as error:
            if len(inputs) == 1:
                raise
            problems += error.problems
    if len(inputs) > 1:
        _forget(targets)
    if problems:
        raise DataError(*problems)


def _forget(targets: Sequence[str]) -> None:
    from mbert_cli.storage.resumable_output import forget

    for target in targets:
        forget(Path(target))


def _targets(inputs: Sequence[str], output: str, force: bool) -> list[str]:
    """Return where the predictions of each input are written."""
    if len(inputs) == 1:
        if output != "-":
            check_output(Path(output), force, inputs[0])
        return [output]
    if output == "-" or "-" in inputs:
        raise UsageError("several inputs must be files, and -o a folder, where each has an output of its name.")
    folder, found = Path(output), dict[Path, str]()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; for several inputs name a folder.")
    problems: list[str] = []
    for path in inputs:
        target = folder / Path(path).name
        if target in found:
            problems.append(f"{path}: has the name of {found[target]}, so that both would be {target}; rename one.")
        found.setdefault(target, path)
    if problems:
        raise UsageError(*problems)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for target, path in found.items():
        try:
            check_output(target, force, path)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(*problems)
    return list(map(str, found))


def _check_parquet(targets: Sequence[str], format_: str) -> None:
    from mbert_cli.data.parquet_output import check_pyarrow, is_parquet

    for target in filter(is_parquet, map(Path, targets)):
        if format_ == "cs224n":
            raise UsageError(f"{target}: --format cs224n is text; choose another name.")
        check_pyarrow(target)


def _text_format(table: "Table", output: str, format_: str) -> "TextFormat | None":
    """Return the format of a text output; None where it is Parquet, or the course's."""
    from mbert_cli.data.parquet_output import is_parquet
    from mbert_cli.data.text_format import text_format

    return None if format_ == "cs224n" or is_parquet(Path(output)) else text_format(table, output)


def _predict(
    predictor: "Predictor", table: "Table", output: str, request: _Request, is_one_of_several: bool, console: Console
) -> None:
    from mbert_cli.data.parquet_output import ParquetSink
    from mbert_cli.prediction.predict_table import choose_tasks, fingerprint_of, predict_cs224n, predict_table

    chosen, format_, limit = choose_tasks(predictor, table, request.tasks), request.format, request.limit
    if format_ == "cs224n" and len(chosen) != 1:
        raise UsageError(f"--format cs224n holds one task; name it with -t. Fitting here: {', '.join(chosen)}.")
    fingerprint = None if output == "-" else fingerprint_of(predictor, table, chosen, format_, limit, request.kept)
    if fingerprint is not None and request.strict_length:
        fingerprint["strict_length"] = True  # rows that were cut before would be kept
    truncation = predictor.truncation(request.strict_length)
    with (
        _output(output, fingerprint, request.force, is_one_of_several, truncation.counts, console) as out,
        console.bar(f"predict {', '.join(chosen)}", limit) as bar,
    ):
        done = out.rows
        bar.advance(by=done)
        if format_ == "cs224n" and not isinstance(out, ParquetSink):
            pieces = predict_cs224n(predictor, table, chosen[0], out, limit, done, truncation)
        else:
            as_text = _text_format(table, output, format_)
            pieces = predict_table(predictor, table, chosen, out, limit, done, request.kept, truncation, as_text)
        for count in pieces if not out.finished else ():
            out.commit(count)
            bar.advance(by=count - done)
            done = count
    for warning in table.warnings:
        console.info(warning)
    place = "" if output == "-" else f"{output}: "
    console.info(f"{place}predicted {', '.join(chosen)} for {counted(done, 'row')}")
    if note := truncation.note():
        console.info(f"{place}{note}")


@contextmanager
def _output(
    output: str,
    fingerprint: Mapping[str, Any] | None,
    force: bool,
    is_one_of_several: bool,
    counts: dict[str, Any],
    console: Console,
) -> Iterator["PartialOutput | Stream | ParquetSink"]:
    """Open the output of a prediction: in pieces that survive, where the input is a file and the output is text."""
    from mbert_cli.data.parquet_output import ParquetSink, is_parquet
    from mbert_cli.storage.resumable_output import Stream, is_compressed, partial_output

    if output == "-":
        sys.stdout.reconfigure(encoding="utf-8", newline="\n") if hasattr(sys.stdout, "reconfigure") else None
        yield Stream(sys.stdout)
        sys.stdout.flush()
    elif fingerprint is None:
        console.info(f"{output}: if interrupted, this starts from the beginning (a stream cannot be resumed).")
        with replacing(Path(output)) as file:
            if is_parquet(Path(output)):
                with closing(ParquetSink(file.buffer.write)) as sink:
                    yield sink
                return
            stream = Stream(file, is_compressed(Path(output)))
            yield stream
            stream.commit(0)
    else:
        with partial_output(Path(output), fingerprint, force, is_one_of_several, counts) as out:
            if is_parquet(Path(output)) and not out.finished:
                console.info(f"{output}: if interrupted, this starts from the beginning (Parquet cannot be resumed).")
                with closing(ParquetSink(out.write_bytes)) as sink:
                    yield sink
                out.rows = sink.rows
                return
            if out.rows and not out.finished:
                console.info(f"{output}: going on after {counted(out.rows, 'row')} predicted before.")
            yield out
