"""Predict files: the procedure of `mbert predict`. torch is imported only once an input has been opened."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.file_settings import check_other_names, input_settings
from mbert_cli.data.parquet_output import ParquetSink
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError, counted
from mbert_cli.prediction.input_files import copy_input
from mbert_cli.prediction.open_output import resumable_file, standard_output, use_threads_begun_with, whole_file
from mbert_cli.prediction.output_formats import FormatName, OutputFormat, output_format
from mbert_cli.prediction.pieces import write_pieces
from mbert_cli.prediction.shard import Shard, ShardRows
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.resumable_output import PartialOutput, Stream, forget
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.data.truncation import Truncation
    from mbert_cli.prediction.predictor import Predictor

_Output = PartialOutput | Stream | ParquetSink


@dataclass(frozen=True)
class PredictOptions:
    """How `mbert predict` reads every input and writes every output.

    Args:
        tasks: the tasks to predict; if empty, every task whose text columns an input has.
        columns: other names of text columns in the inputs.
        quoting: how the inputs are quoted; None for as the tasks' files.
        delimiter: the delimiter of the inputs; None for that of the tasks' files.
        limit: number of rows to read at most.
        strict_length: reject rows that are too long instead of cutting them.
        format: `same` for the format that the output's name asks for, or the name of another; see `output_format`.
        kept: the columns of an input that are written; None for all.
        force: replace existing outputs.
        shard: the part of the rows of each input to predict; None for all.
    """

    tasks: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    quoting: Quoting | None = None
    delimiter: Delimiter | None = None
    limit: int | None = None
    strict_length: bool = False
    format: FormatName = "same"
    kept: Sequence[str] | None = None
    force: bool = False
    shard: Shard | None = None


def predict_files(
    files: Mapping[str, str],
    section: ModelSection,
    load: Callable[[], "Predictor"],
    options: PredictOptions,
    console: Console,
) -> None:
    """Predict files one after another. An input that cannot be read does not stop the others.

    Args:
        files: for each input its output; `-` for standard input and standard output.
        section: the model's tasks.
        load: loads the model; called once an input has been opened.
        options: how inputs are read and outputs are written.
        console: prints progress, and afterwards what the user should know.

    Raises:
        MbertError: an input, an output or an option cannot be used. If inputs cannot be read, the message lists all.
    """
    tasks = {name: section.tasks[name] for name in options.tasks if name in section.tasks} or section.tasks
    predictor: Predictor | None = None
    problems: list[str] = []
    advice: dict[str, str] = {}  # the first output for each piece of advice
    with ExitStack() as threads:
        for input_file, output in files.items():
            try:
                copy_input(input_file, console)
                settings = input_settings(input_file, tasks, options.quoting, options.delimiter)
                with Table(input_file, settings.quoting, settings.delimiter, options.columns) as table:
                    check_other_names(table, options.columns)
                    console.detail(table.description)
                    format_ = output_format(options.format, output)
                    format_.check_input(table)
                    predictor = predictor or load()
                    _predict_file(predictor, table, format_, options, len(files) > 1, threads, console)
                    if output != "-" and (text := format_.advice(table)):
                        advice.setdefault(text, output)
            except DataError as error:
                if len(files) == 1:
                    raise
                problems += error.problems
    for text, output in advice.items():
        console.info(f"{output}: {text}")
    if len(files) > 1 and options.shard is None:  # `mbert join` reads the journals of parts
        for output in files.values():
            forget(Path(output))
    if problems:
        raise DataError(*problems)


def _predict_file(
    predictor: "Predictor",
    table: Table,
    format_: OutputFormat,
    options: PredictOptions,
    is_one_of_several: bool,
    threads: ExitStack,
    console: Console,
) -> None:
    from mbert_cli.prediction.table_tasks import choose_tasks

    tasks = choose_tasks(predictor, table, options.tasks)
    format_.check_tasks(tasks)
    truncation = predictor.truncation(options.strict_length)
    shard = options.shard.rows_of(table, options.limit) if options.shard else None
    file = _FilePrediction(predictor, table, tasks, format_, options, truncation, shard)
    with (
        file.open_output(is_one_of_several, threads, console) as out,
        console.bar(f"predict {', '.join(tasks)}", len(shard.wanted) if shard else options.limit) as bar,
    ):
        done = write_pieces(out, lambda: file.pieces(out), bar)
        if shard:
            shard.check_count(done, table.name)
    for warning in table.warnings:
        console.note(warning)
    place = "" if format_.output == "-" else f"{format_.output}: "
    console.info(f"{place}predicted {', '.join(tasks)} for {counted(done, 'row')}{f' ({shard})' if shard else ''}")
    if note := truncation.note():
        console.info(f"{place}{note}")


@dataclass(frozen=True)
class _FilePrediction:
    """The prediction of one file.

    Args:
        predictor: the model.
        table: the input.
        tasks: the tasks to predict.
        format: the format of the output.
        options: how the input is read and the output is written.
        truncation: counts the rows that are cut.
        shard: the rows that are written; None for all.
    """

    predictor: "Predictor"
    table: Table
    tasks: Sequence[str]
    format: OutputFormat
    options: PredictOptions
    truncation: "Truncation"
    shard: ShardRows | None

    def open_output(
        self, is_one_of_several: bool, threads: ExitStack, console: Console
    ) -> AbstractContextManager[_Output]:
        """Return the output, not yet opened. If possible, it can be resumed.

        Args:
            is_one_of_several: keep a record of the finished file until all files are finished.
            threads: if an interrupted prediction was started with another number of threads, use that number until
                this is closed. It changes the last digits of a result.
            console: prints whether the prediction is resumed, or can be.
        """
        if self.format.output == "-":
            return standard_output()
        path, fingerprint = Path(self.format.output), self._fingerprint()
        if fingerprint is None:
            return whole_file(path, self.format, console)
        use_threads_begun_with(path, fingerprint, self.predictor, threads, console)
        force, counts = self.options.force, self.truncation.counts
        remember = is_one_of_several or self.shard is not None
        return resumable_file(path, self.format, fingerprint, force, remember, counts, console)

    def pieces(self, out: _Output) -> Iterator[int]:
        """Write the rows that are missing; yield the number of rows written, after each piece."""
        from mbert_cli.prediction.predict_table import predict_table

        predictor, table, tasks, options = self.predictor, self.table, self.tasks, self.options
        wanted = self.shard.wanted if self.shard else None
        writer = self.format.writer(out, predictor, table, tasks, options.kept)
        return predict_table(predictor, table, tasks, writer, options.limit, out.rows, self.truncation, wanted)

    def _fingerprint(self) -> dict[str, Any] | None:
        from mbert_cli.prediction.fingerprint import fingerprint_of

        options = self.options
        fingerprint = fingerprint_of(
            self.predictor, self.table, self.tasks, options.format, options.limit, options.kept, options.strict_length
        )
        if fingerprint is not None and self.shard:
            fingerprint["shard"] = self.shard.record(self.format.ending(self.table))
        return fingerprint
