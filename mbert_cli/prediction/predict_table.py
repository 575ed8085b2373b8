"""One procedure: predict the rows of a table and write them with their predictions."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from mbert_cli.data.parquet_output import ParquetSink, Types
from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TableWriter, TextSink, as_cell
from mbert_cli.data.text_format import TextFormat
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import DataError, UsageError
from mbert_cli.heads import Columns
from mbert_cli.machine.versions import versions
from mbert_cli.metrics import Goal
from mbert_cli.prediction.predictor import Predictor, _check_names
from mbert_cli.recipe.sections import TaskSection
from mbert_cli.storage.atomic import sha256_of

# What is in memory at once: rows, and characters of their cells.
_WINDOW = 8192
_WINDOW_TEXT = 1 << 24
_MOST_CELLS = 1 << 22  # predicted at once; a task may have thousands of classes
# The header of the course's submission files, by what a task predicts of how many texts; "Similiary" is spelt so there.
_CS224N_NAMES: dict[tuple[Goal, int], str] = {
    ("classification", 1): "Predicted_Sentiment",
    ("classification", 2): "Predicted_Is_Paraphrase",
    ("regression", 2): "Predicted_Similiary",
}


def choose_tasks(predictor: Predictor, table: Table, asked: Sequence[str]) -> list[str]:
    """Return the tasks to predict: those asked for, else all whose text columns the table has.

    Raises:
        CheckpointError: a task does not exist.
        DataError: the table lacks a task's column, or fits no task.
    """
    fitting = list(dict.fromkeys(asked)) or [
        name
        for name, task in predictor.saved.section.tasks.items()
        if all(table.has(_heading(table, task, each)) for each in task.text)
    ]
    if not fitting:
        wanted = "; ".join(f"{name}: {', '.join(task.text)}" for name, task in predictor.saved.section.tasks.items())
        have = ", ".join(column for column in table.header if column)
        raise DataError(
            f"{table.name}:{table.header_line}: has no task's text columns ({wanted}); it has {have}. "
            f"Say which is which with --columns NAME=OTHER (in a recipe's task: columns).{table.delimiter_hint}"
        )
    for task in fitting:  # before rows are read: from now on each must have the task's texts
        _text_columns(predictor, table, task)
    return fitting


def _heading(table: Table, task: TaskSection, name: str) -> str:
    """Return what a task's column is called in a table: each task has other names of its own."""
    return name if table.has(name) else task.columns.get(name, name)


def _text_columns(predictor: Predictor, table: Table, task: str) -> list[int]:
    section = predictor.saved.task(task)
    return [table.text_column(_heading(table, section, name), f"text of task {task}") for name in section.text]


def fingerprint_of(
    predictor: Predictor,
    table: Table,
    tasks: Sequence[str],
    format_: str,
    limit: int | None,
    kept: Sequence[str] | None = None,
) -> dict[str, Any] | None:
    """Return all that the bytes of a prediction follow from; None where the input can be read once only."""
    if table.path is None or not table.path.is_file():
        return None
    return {
        "input": sha256_of(table.path),
        "model": predictor.saved.sha256,
        "tasks": list(tasks),
        "reading": [table.quoting, table.delimiter, dict(table.names)],
        "kept": None if kept is None else list(kept),
        "format": format_,
        "limit": limit,
        "batch_size": predictor.batch_size,
        "fold": predictor.fold,
        "hardware": predictor.hardware.facts(),
        "versions": versions(),
    }


def predict_table(
    predictor: Predictor,
    table: Table,
    tasks: Sequence[str],
    out: TextSink | ParquetSink,
    limit: int | None = None,
    done: int = 0,
    kept: Sequence[str] | None = None,
    truncation: Truncation | None = None,
    format_: TextFormat | None = None,
) -> Iterator[int]:
    """Write a table's rows in their order, with the predictions appended.

    Memory does not grow with the table.

    Args:
        predictor: the model.
        table: the input.
        tasks: what to predict; the appended columns are prefixed with the task's name where there are several.
        out: where the rows are written; what Parquet holds is there when its groups are committed.
        limit: how many rows at most.
        done: how many rows were written before, as this yielded it; they are passed over.
        kept: which of the table's columns are written; by default all.
        truncation: counts the rows that are cut.
        format_: of a text output; by default the input's.

    Yields:
        How many rows are written, after every few thousand.

    Raises:
        DataError: a row is malformed, a column to keep does not exist, or one has a prediction's name already.
    """
    appended = _appended(predictor, tasks)
    _check_names(table, list(appended), table.header if kept is None else kept)
    writer: TableWriter | ParquetSink
    if isinstance(out, ParquetSink):
        writer = out.begin(table, appended, kept)
    else:
        writer = TableWriter(out, table, list(appended), kept, format_)
    if not done:
        writer.write_header()
    size = max(1, min(_WINDOW, _MOST_CELLS // len(appended)))
    for rows in windows(table, done, limit, size):
        predicted: list[list[str] | list[float]] = []
        for task in tasks:
            predicted += _predicted(predictor, table, task, rows, truncation).values()
        for row, values in zip(rows, zip(*predicted, strict=True), strict=True):
            writer.write(row, list(values))
        done += len(rows)
        yield done


def _appended(predictor: Predictor, tasks: Sequence[str]) -> Types:
    """Return the names of the columns that are appended, and what they hold."""
    prefixes = {task: f"{task}_" if len(tasks) > 1 else "" for task in tasks}
    heads = {task: predictor.saved.model.head(task) for task in tasks}
    return {
        prefixes[task] + name: "text" if name == "pred" and head.goal == "classification" else "number"
        for task, head in heads.items()
        for name in head.labels.columns
    }


def predict_cs224n(
    predictor: Predictor,
    table: Table,
    task: str,
    out: TextSink,
    limit: int | None = None,
    done: int = 0,
    truncation: Truncation | None = None,
) -> Iterator[int]:
    r"""Write the course's submission file of one task: ``id \t Predicted_Sentiment \n``, then ``{id} , {pred} \n``.

    Args, yields and errors are those of `predict_table`.
    """
    section = predictor.saved.task(task)
    name = _CS224N_NAMES.get((predictor.saved.model.head(task).goal, len(section.text)))
    if name is None:
        raise UsageError("--format cs224n is for the course's three tasks; none of them is a regression of one text.")
    if section.id is None:
        raise UsageError(f"--format cs224n needs ids, but the recipe says tasks.{task}.id: null.")
    ids = table.column(_heading(table, section, section.id), f"id of task {task}")
    if not done:
        out.write(f"id \t {name} \n")
    for rows in windows(table, done, limit):
        predicted: Sequence[str | float] = _predicted(predictor, table, task, rows, truncation)["pred"]
        for row, value in zip(rows, predicted, strict=True):
            if any(sign in row.cells[ids] for sign in ",\r\n"):
                raise DataError(
                    f"{table.name}:{row.line}: the id {row.cells[ids]!r} cannot be written in --format cs224n."
                )
            out.write(f"{row.cells[ids]} , {as_cell(value)} \n")
        done += len(rows)
        yield done


def windows(table: Table, done: int, limit: int | None, size: int = _WINDOW) -> Iterator[list[Row]]:
    """Yield rows in lists that memory has room for; where one ends is a function of the table and of `size`.

    Args:
        table: gives the rows.
        done: how many are passed over.
        limit: how many are yielded at most, those that are passed over included.
        size: the most rows of a list.
    """
    window: list[Row] = []
    text = 0
    for row in islice(iter(table), done, limit):
        window.append(row)
        text += sum(map(len, row.cells))
        if len(window) == size or text >= _WINDOW_TEXT:
            yield window
            window, text = [], 0
    if window:
        yield window


def _predicted(
    predictor: Predictor, table: Table, task: str, rows: Sequence[Row], truncation: Truncation | None
) -> Columns:
    columns = _text_columns(predictor, table, task)
    data = predictor.tokenise([[row.cells[column] for row in rows] for column in columns], task)
    if truncation is not None:
        truncation.add(task, data, table.name, [row.line for row in rows])
    return predictor.predict_tokens(data, task)
