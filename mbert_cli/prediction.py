"""One procedure: predict. Also `Predictor`, the same from Python."""

import shlex
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbert_cli.commits import sha256_of
from mbert_cli.data.batching import TaskData, by_length, pack, tokenise_texts
from mbert_cli.data.file_settings import with_file_settings
from mbert_cli.data.given import Given, check_texts, sides_of, texts_or_rows
from mbert_cli.data.parquet_output import ParquetSink, Types
from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TableWriter, TextSink, as_cell
from mbert_cli.data.text_format import TextFormat
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import DataError, UsageError, is_out_of_memory
from mbert_cli.hardware import choose
from mbert_cli.heads import Columns
from mbert_cli.metrics import Goal
from mbert_cli.model import MultiTaskBert
from mbert_cli.recipe import TaskSection
from mbert_cli.saved_model import read_model
from mbert_cli.versions import versions

# Tokens of a batch: more fill no more of the device.
TOKEN_BUDGETS = {"cpu": 4096, "cuda": 32768}
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


def run_model(
    model: MultiTaskBert,
    task: str,
    data: TaskData,
    batch_size: int | None = None,
    token_budget: int | None = None,
    vectors: bool = False,
) -> Tensor:
    """Return the outputs of a task's head for all examples, in their order, on the CPU; the mean over both orders.

    A batch that memory has no room for is computed in halves, and so are the following ones that are as large.

    Args:
        model: the model; it is put into evaluation mode.
        task: the task's name.
        data: its examples.
        batch_size: examples of a batch at most.
        token_budget: tokens of a batch at most; as many as keep the device busy by default.
        vectors: return the vectors that the head would get, of examples of one side, in place of its outputs.
    """
    model.eval()
    device = model.encoder.word_embeddings.weight.device
    token_budget = token_budget or TOKEN_BUDGETS[device.type]
    both_orders = data.swapped is not None and not vectors
    if data.swapped is not None and both_orders:
        sides = zip(model.head(task).sides, data.swapped.sides, strict=True)
        data = replace(data, sides=(*data.sides, *(tokens for side, tokens in sides if side == "whole")))
    outputs, order = [], []
    lengths, pending = data.lengths, deque(by_length(data, token_budget, batch_size))
    most = token_budget  # tokens that memory has room for
    with torch.inference_mode():
        while pending:
            rows = pending.popleft()
            if len(rows) > 1 and lengths[rows].sum() > most:
                pending.extendleft(reversed(np.array_split(rows, 2)))
                continue
            try:
                batch = pack({task: data}, {task: rows}, device)
                outputs.append((model.vectors(batch) if vectors else model(batch, both_orders)[task]).float())
            except (MemoryError, RuntimeError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
                most = int(lengths[rows].sum()) // 2
                pending.appendleft(rows)
                continue
            order.append(rows)
        # Copied at last: a GPU is never waited for between two batches.
        return torch.cat(outputs).cpu()[torch.from_numpy(np.argsort(np.concatenate(order)))]


class Predictor:
    """A saved model, ready to predict.

    Args:
        run: a run folder, or the folder of a saved model.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32` or `bf16`.
        kernels: `auto`, `torch` or `fused`.
        batch_size: examples of a batch at most; by default only the number of tokens is bounded.
        fold: fold what can be into the encoder's weights, one copy of the encoder a task; see `encoder.folding`.
        encoder: where the encoder is now that the model refers to; see `saved_model.read_model`.

    Raises:
        CheckpointError: there is no model, or it cannot be loaded.
        UsageError: the device does not exist, or it has no such kernels.

    Example:
        >>> Predictor("runs/demo")({"text": ["What a wonderful evening!"]}, task="sentiment")["pred"]
        ['positive']
    """

    def __init__(
        self,
        run: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        kernels: str = "auto",
        batch_size: int | None = None,
        fold: bool = False,
        encoder: str | Path | None = None,
    ) -> None:
        self.hardware = choose(device, precision, kernels)
        self.run = Path(run)
        self.saved = read_model(self.run, encoder)
        self.saved.model.to(self.hardware.device).compute_with(self.hardware.dtype, self.hardware.kernels)
        self.batch_size = batch_size
        self.fold = fold
        self._models = {task: self.saved.model.folded(task) if fold else self.saved.model for task in self.tasks}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the model's tasks."""
        return self.saved.model.task_names

    def read_files_with(self, columns: Mapping[str, str], **settings: str | None) -> None:
        """Read the tasks' files otherwise than the model's recipe says; see `with_file_settings`."""
        section = with_file_settings(self.saved.section, columns, **settings)
        self.saved = replace(self.saved, section=section)

    def __call__(self, rows: Given, task: str | None = None) -> Columns:
        """Predict a task for rows of text.

        Args:
            rows: the task's text columns by name, a list of rows that are dicts, or a data frame; for a task that reads
                one text, also a list of texts. Other columns are passed over.
            task: the task's name; it may be left out where the model has one task only.

        Returns:
            `pred`, and `score` or `p_<label>`, one value a row.

        Raises:
            CheckpointError: the model has no such task.
            DataError: a column is missing, columns differ in length, or something is no text.
            UsageError: the task must be named.
        """
        if task is None:
            if len(self.tasks) > 1:
                raise UsageError(f"the model has several tasks; name one: {', '.join(self.tasks)}.")
            task = self.tasks[0]
        return self.predict(sides_of(rows, task, self.saved.task(task)), task)

    def predict(self, sides: Sequence[Sequence[Any]], task: str) -> Columns:
        """Predict a task for its sentences, or for the two sides of its pairs; errors are those of a call."""
        return self.predict_tokens(self.tokenise(sides, task), task)

    def tokenise(self, sides: Sequence[Sequence[Any]], task: str) -> TaskData:
        """Return the tokens of a task's texts, as its head reads them; errors are those of a call."""
        check_texts(sides, self.saved.task(task).text, task)
        head = self.saved.model.head(task)
        return tokenise_texts(self.saved.tokenizer, sides, head.sides, self.saved.task(task).symmetric)

    def predict_tokens(self, data: TaskData, task: str) -> Columns:
        """Predict a task for texts that were tokenised."""
        head = self.saved.model.head(task)
        if not len(data):
            return {name: [] for name in head.column_names}
        return head.predict(run_model(self._models[task], task, data, self.batch_size))

    def truncation(self, strict: bool = False) -> Truncation:
        """Return what counts rows that the model cuts, or refuses them."""
        return Truncation(self.saved.tokenizer.max_length, self.saved.model.encoder.shape.max_positions, strict)

    def embed(self, texts: Given, task: str | None = None) -> np.ndarray:
        """Return vectors as a task's head gets them: of texts alone, or of a task's rows.

        Args:
            texts: a list of texts, each embedded alone; or a task's rows in any form that a call takes. A row's vector
                is that of its only text, or of both in one sequence where the head reads them so. For a symmetric task
                that is the sequence in the given order.
            task: whose adapters act; it may be left out where all tasks read the same vectors, having no adapters.

        Returns:
            ``[rows, hidden]``, float32.

        Raises:
            CheckpointError: the model has no such task.
            DataError: a column is missing, columns differ in length, or something is no text.
            UsageError: the task must be named; or rows of pairs are given, and its head reads both texts apart.
        """
        task = self.task_to_embed(task)
        section = self.saved.task(task)
        alone, texts = texts_or_rows(texts, task)
        if alone is not None:
            return self.embed_tokens(self.tokenise_to_embed([alone], task), task)
        if self.columns_to_embed(task) != section.text:
            one, two = section.text
            raise UsageError(
                f"task {task} reads {one} and {two} apart, so that a row has two vectors; give one list of texts."
            )
        return self.embed_tokens(self.tokenise_to_embed(sides_of(texts, task, section), task), task)

    def task_to_embed(self, task: str | None) -> str:
        """Return the task whose vectors are asked for; see `embed`."""
        if task is None:
            if any(self.saved.model.task(name).adapter_list() for name in self.tasks) and len(self.tasks) > 1:
                raise UsageError(f"vectors differ by task: choose one with -t: {', '.join(self.tasks)}.")
            task = self.tasks[0]
        self.saved.task(task)
        return task

    def columns_to_embed(self, task: str) -> list[str]:
        """Return the columns that a row's vector is of: both texts where the head reads them as one, else the first."""
        text = self.saved.task(task).text
        return text if "whole" in self.saved.model.head(task).sides else text[:1]

    def reads_pairs_as_one(self, task: str) -> bool:
        """Whether a task's head reads both texts of a pair in one sequence, and neither of them alone."""
        sides = self.saved.model.head(task).sides
        return len(self.saved.task(task).text) > 1 and set(sides) == {"whole"}

    def tokenise_to_embed(self, sides: Sequence[Sequence[Any]], task: str) -> TaskData:
        """Return the tokens of texts, or of pairs as one sequence each."""
        check_texts(sides, self.saved.task(task).text if len(sides) > 1 else ["the text"], task)
        return TaskData((self.saved.tokenizer.encode(*sides),), None)

    def embed_tokens(self, data: TaskData, task: str) -> np.ndarray:
        """Return the vectors of texts that were tokenised."""
        if not len(data):
            return np.zeros((0, self.saved.model.encoder.shape.hidden_size), np.float32)
        return run_model(self._models[task], task, data, self.batch_size, vectors=True).numpy()


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


def origin_of(
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


def _check_names(table: Table, appended: Sequence[str], kept: Sequence[str]) -> None:
    """Check that no column to keep has the name of an appended one.

    Raises:
        DataError: some have; with what to keep instead.
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


def _appended(predictor: Predictor, tasks: Sequence[str]) -> Types:
    """Return the names of the columns that are appended, and what they hold."""
    prefixes = {task: f"{task}_" if len(tasks) > 1 else "" for task in tasks}
    heads = {task: predictor.saved.model.head(task) for task in tasks}
    return {
        prefixes[task] + name: "text" if name == "pred" and head.goal == "classification" else "number"
        for task, head in heads.items()
        for name in head.column_names
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
