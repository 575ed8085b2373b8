"""Embed a file: the procedure of `mbert embed`. torch is imported only once the input has been opened."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.file_settings import check_other_names, input_settings
from mbert_cli.data.parquet_output import check_pyarrow, is_parquet
from mbert_cli.data.table import Table
from mbert_cli.errors import UsageError
from mbert_cli.prediction.embed_output import VectorOutput, resumable_vectors, whole_vectors
from mbert_cli.prediction.input_files import copy_input
from mbert_cli.prediction.open_output import use_threads_begun_with
from mbert_cli.prediction.pieces import write_pieces
from mbert_cli.prediction.shard import Shard, ShardRows
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.output_file import check_output
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.data.truncation import Truncation
    from mbert_cli.prediction.predictor import Predictor


@dataclass(frozen=True)
class EmbedOptions:
    """How `mbert embed` reads its input, and which vectors it writes.

    Args:
        task: the task whose adapters are used; None if all tasks have the same vectors.
        text: the column to embed alone; None for the text, or the pair, that the task's head reads.
        normalise: scale each vector to length 1.
        columns: other names of text columns in the input.
        quoting: how the input is quoted; None for as the tasks' files.
        delimiter: the delimiter of the input; None for that of the tasks' files.
        limit: number of rows to read at most.
        strict_length: reject rows that are too long instead of cutting them.
        force: replace an existing output.
        shard: the part of the rows to embed; None for all.
    """

    task: str | None = None
    text: str | None = None
    normalise: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    quoting: Quoting | None = None
    delimiter: Delimiter | None = None
    limit: int | None = None
    strict_length: bool = False
    force: bool = False
    shard: Shard | None = None


def check_vector_file(path: Path, force: bool, resumed_input: str | None = None) -> None:
    """Check that a file of vectors may be written.

    Args:
        path: the file.
        force: whether an existing file may be replaced.
        resumed_input: the input, if an interrupted output is resumed.

    Raises:
        UsageError: the file may not be written, or its name ends in neither .npy nor .parquet.
    """
    check_output(path, force, resumed_input)
    if path.suffix not in (".npy", ".parquet"):
        raise UsageError(f"{path}: is not a file of vectors; end the name in .npy or .parquet.")


def embed_file(
    input_file: str,
    output: Path,
    section: ModelSection,
    load: Callable[[], "Predictor"],
    options: EmbedOptions,
    console: Console,
) -> list[str]:
    """Write the vectors of a file's rows, float32. If this fails, no file is left.

    Args:
        input_file: the input; `-` for standard input.
        output: the output, .npy or .parquet.
        section: the model's tasks.
        load: loads the model; called once the input has been opened.
        options: how the input is read, and which vectors are written.
        console: shows progress.

    Returns:
        What the user should know, one line each: the size of the file, texts that were not embedded or were cut.

    Raises:
        MbertError: the input, the output or an option cannot be used.
    """
    tasks = {name: each for name, each in section.tasks.items() if name == options.task} or section.tasks
    copy_input(input_file, console)
    settings = input_settings(input_file, tasks, options.quoting, options.delimiter)
    with Table(input_file, settings.quoting, settings.delimiter) as table, ExitStack() as threads:
        check_other_names(table, options.columns)
        if is_parquet(output):
            check_pyarrow(output)
        from mbert_cli.prediction.embed_columns import columns_to_embed, task_to_embed

        predictor = load()
        task = task_to_embed(predictor.saved, options.task)
        table.names = {**predictor.saved.task(task).columns, **options.columns}
        columns = [options.text] if options.text else columns_to_embed(predictor.saved, task)
        truncation = predictor.truncation(options.strict_length)
        shard = options.shard.rows_of(table, options.limit) if options.shard else None
        file = _FileEmbedding(predictor, table, output, task, columns, options, truncation, shard)
        with (
            file.open_output(threads, console) as out,
            console.bar("embed", len(shard.wanted) if shard else options.limit) as bar,
        ):
            done = write_pieces(out, lambda: file.pieces(out), bar)
            if shard:
                shard.check_count(done, table.name)
        notes = _notes_on_columns(predictor, table, task, columns, options.text)
    together = " as one sequence" if len(columns) > 1 else ""
    place = f" ({shard})" if shard else ""
    written = f"wrote {output}: {done} vectors of {file.hidden} numbers, of {' and '.join(columns)}{together}{place}"
    return [written, *notes, *table.warnings, *filter(None, [truncation.note()])]


@dataclass(frozen=True)
class _FileEmbedding:
    """The vectors of one file.

    Args:
        predictor: the model.
        table: the input.
        output: the output file.
        task: the task whose adapters are used.
        columns: the columns that are embedded.
        options: how the input is read and the output is written.
        truncation: counts the rows that are cut.
        shard: the rows that are written; None for all.
    """

    predictor: "Predictor"
    table: Table
    output: Path
    task: str
    columns: Sequence[str]
    options: EmbedOptions
    truncation: "Truncation"
    shard: ShardRows | None

    @property
    def hidden(self) -> int:
        """Number of values in a vector."""
        return self.predictor.saved.model.shape.hidden_size

    def open_output(self, threads: ExitStack, console: Console) -> AbstractContextManager[VectorOutput]:
        """Return the output, not yet opened. A part can be resumed.

        Args:
            threads: if an interrupted command was started with another number of threads, use that number until this is
                closed.
            console: prints whether the command is resumed.
        """
        if self.shard is None:
            return whole_vectors(self.output, self.table, self.hidden)
        fingerprint = self._fingerprint(self.shard)
        use_threads_begun_with(self.output, fingerprint, self.predictor, threads, console)
        shape = (len(self.shard.wanted), self.hidden)
        counts = self.truncation.counts
        return resumable_vectors(self.output, self.table, shape, fingerprint, self.options.force, counts, console)

    def pieces(self, out: VectorOutput) -> Iterator[int]:
        """Write the rows that are missing; yield the number of rows written, after each piece."""
        from mbert_cli.prediction.embed_table import embed_table

        options, wanted = self.options, self.shard.wanted if self.shard else None
        return embed_table(
            self.predictor,
            self.table,
            self.columns,
            self.task,
            out.file,
            options.normalise,
            options.limit,
            self.truncation,
            out.rows,
            wanted,
        )

    def _fingerprint(self, shard: ShardRows) -> dict[str, Any]:
        from mbert_cli.prediction.fingerprint import fingerprint_of_vectors

        vectors = {
            "task": self.task,
            "columns": list(self.columns),
            "normalise": self.options.normalise,
            "strict_length": self.options.strict_length,
        }
        fingerprint = fingerprint_of_vectors(self.predictor, self.table, vectors, self.options.limit)
        return {**fingerprint, "shard": shard.record(self.output.suffix)}


def _notes_on_columns(
    predictor: "Predictor", table: Table, task: str, embedded: Sequence[str], text: str | None
) -> list[str]:
    """Return a line for each text that was not embedded, or that the head never reads as it was embedded."""
    from mbert_cli.prediction.embed_columns import reads_only_pairs

    texts = predictor.saved.task(task).text
    if text is not None:
        never_alone = text in texts and reads_only_pairs(predictor.saved, task)
        note = f"task {task} reads its two texts as one sequence: its head never sees {text} alone."
        return [note] if never_alone else []
    return [
        f"task {task} reads {embedded[0]} and {other} apart; {other} is not embedded: "
        f"{shlex.join(['--text', other])} embeds it."
        for other in texts[len(embedded) :]
        if table.has(other)
    ]
