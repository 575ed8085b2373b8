"""Predict the rows of a table, and write them together with their predictions."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from mbert_cli.data.batching import TaskData
from mbert_cli.data.parquet_output import Types
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import RowWriter
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import DataError
from mbert_cli.prediction.ahead import ahead
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.table_tasks import text_columns
from mbert_cli.prediction.windows import Window, windows

_Tokenised = tuple[Window, dict[str, TaskData]]
_Column = list[str] | list[float]


def predict_table(
    predictor: Predictor,
    table: Table,
    tasks: Sequence[str],
    writer: RowWriter,
    limit: int | None = None,
    done: int = 0,
    truncation: Truncation | None = None,
    wanted: range | None = None,
) -> Iterator[int]:
    """Write the rows of a table in their order, with their predictions.

    The memory that this needs does not depend on the number of rows.

    Args:
        predictor: the model.
        table: the input.
        tasks: the tasks to predict.
        writer: writes the rows; see `OutputFormat.writer`.
        limit: number of rows to read at most.
        done: number of rows that an earlier call has written, as it yielded it; they are skipped.
        truncation: counts the rows that are cut.
        wanted: numbers of the rows that are written, from 0; None for all.

    Yields:
        The number of rows written so far: 0 after the header, then after every few thousand.

    Raises:
        DataError: a row is malformed, or cannot be written.
    """
    if not done:
        writer.write_header()
        yield 0
    read = windows(table, done, limit, len(_appended(predictor, tasks)), wanted)
    with ExitStack() as threads:
        overlap = _overlap(predictor, table)
        tokenised = _tokenised(predictor, table, tasks, read, truncation)
        if overlap:
            tokenised = threads.enter_context(ahead(tokenised))
        predicted = _predicted(predictor, tokenised)
        if overlap:
            predicted = threads.enter_context(ahead(predicted))
        for window, columns in predicted:
            for row, values in zip(window.own_rows, zip(*columns, strict=True), strict=True):
                writer.write(row, list(values))
            done += len(window.own_rows)
            yield done


def _overlap(predictor: Predictor, table: Table) -> bool:
    """Return whether the next window is tokenised, and the current one computed, while the last one is written.

    On a CPU, these are less than 2 % of the work, and they would compete with the computation. A stream is not read
    ahead: a thread that waits for a stream cannot be stopped.
    """
    return predictor.hardware.device.type == "cuda" and table.path is not None and table.path.is_file()


def _tokenised(
    predictor: Predictor,
    table: Table,
    tasks: Sequence[str],
    read: Iterator[Window],
    truncation: Truncation | None,
) -> Iterator[_Tokenised]:
    """Yield windows with the tokens of their rows, for each task."""
    for window in read:
        tokens = {}
        for task in tasks:
            columns = text_columns(predictor, table, task)
            data = predictor.tokenise([[row.cells[column] for row in window.rows] for column in columns], task)
            if truncation is not None:
                truncation.add(task, data, table.name, [row.line for row in window.rows], window.own)
            tokens[task] = data
        yield window, tokens


def _predicted(predictor: Predictor, tokenised: Iterator[_Tokenised]) -> Iterator[tuple[Window, list[_Column]]]:
    """Predict all rows of windows; yield the windows with the predictions of their own rows."""
    for window, tokens in tokenised:
        columns: list[_Column] = []
        for task, data in tokens.items():
            columns += (values[window.own] for values in predictor.predict_tokens(data, task).values())
        yield window, columns


def appended_columns(predictor: Predictor, table: Table, tasks: Sequence[str], kept: Sequence[str] | None) -> Types:
    """Return the type of each column that a prediction appends to a table.

    If there are several tasks, the name of a column starts with the name of its task.

    Args:
        predictor: the model.
        table: the table.
        tasks: the tasks that are predicted.
        kept: the table's columns that are written; None for all.

    Raises:
        DataError: a prediction has the name of a column that is written.
    """
    appended = _appended(predictor, tasks)
    _check_names(table, list(appended), table.header if kept is None else kept)
    return appended


def prefix_of(task: str, tasks: Sequence[str]) -> str:
    """Return what the names of a task's predictions start with, if several tasks are predicted."""
    return f"{task}_" if len(tasks) > 1 else ""


def _appended(predictor: Predictor, tasks: Sequence[str]) -> Types:
    heads = {task: predictor.saved.model.head(task) for task in tasks}
    return {
        prefix_of(task, tasks) + name: "text" if name == "pred" and head.goal == "classification" else "number"
        for task, head in heads.items()
        for name in head.labels.columns
    }


def _check_names(table: Table, appended: Sequence[str], kept: Sequence[str]) -> None:
    """Check that no column to keep has the name of an appended column.

    Raises:
        DataError: some have; the message suggests what to keep instead.
    """
    taken = [name for name in appended if name in kept]
    if not taken:
        return
    others = [name for name in kept if name not in taken]
    can_be_kept = not any("," in name or name != name.strip() for name in others)
    keep = ",".join(others) or "none"
    remedy = f"leave them out: --keep {shlex.quote(keep)}" if can_be_kept else "rename them"
    raise DataError(
        f"{table.name}:{table.header_line}: already has columns that the prediction would add "
        f"({', '.join(taken)}); {remedy}."
    )
