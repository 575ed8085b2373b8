"""Embed a file: the procedure of `mbert embed`. torch is imported only once the input has been opened."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from mbert_cli.data.csv_rows import Quoting
from mbert_cli.data.delimiter import Delimiter
from mbert_cli.data.file_settings import input_settings
from mbert_cli.data.parquet_output import check_pyarrow, is_parquet
from mbert_cli.data.table import Table
from mbert_cli.data.vectors import NumpyVectors, ParquetVectors, VectorFile
from mbert_cli.errors import UsageError
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.output_file import check_output, replacing
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
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
    """

    task: str | None = None
    text: str | None = None
    normalise: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    quoting: Quoting | None = None
    delimiter: Delimiter | None = None
    limit: int | None = None
    strict_length: bool = False


def check_vector_file(path: Path, force: bool) -> None:
    """Check that a file of vectors may be written.

    Args:
        path: the file.
        force: whether an existing file may be replaced.

    Raises:
        UsageError: the file may not be written, or its name ends in neither .npy nor .parquet.
    """
    check_output(path, force)
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
    settings = input_settings(input_file, tasks, options.quoting, options.delimiter)
    with Table(input_file, settings.quoting, settings.delimiter) as table:
        if is_parquet(output):
            check_pyarrow(output)
        from mbert_cli.prediction.embed_columns import columns_to_embed, task_to_embed
        from mbert_cli.prediction.embed_table import embed_table

        predictor = load()
        task = task_to_embed(predictor.saved, options.task)
        table.names = {**predictor.saved.task(task).columns, **options.columns}
        columns = [options.text] if options.text else columns_to_embed(predictor.saved, task)
        truncation = predictor.truncation(options.strict_length)
        hidden, done = predictor.saved.model.shape.hidden_size, 0
        with replacing(output) as file, console.bar("embed", options.limit) as bar:
            data = cast(IO[bytes], file.buffer)
            out: VectorFile = ParquetVectors(data, table, hidden) if is_parquet(output) else NumpyVectors(data, hidden)
            with closing(out):
                for count in embed_table(
                    predictor, table, columns, task, out, options.normalise, options.limit, truncation
                ):
                    bar.advance(by=count - done)
                    done = count
        notes = _notes_on_columns(predictor, table, task, columns, options.text)
    together = " as one sequence" if len(columns) > 1 else ""
    written = f"wrote {output}: {done} vectors of {hidden} numbers, of {' and '.join(columns)}{together}"
    return [written, *notes, *table.warnings, *filter(None, [truncation.note()])]


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
