"""`Predictor`: a saved model that predicts and embeds texts, for the commands and for Python programs."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbert_cli.data.batching import TaskData, tokenise_texts
from mbert_cli.data.file_settings import with_file_settings
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import UsageError
from mbert_cli.heads import Columns
from mbert_cli.machine.hardware import choose
from mbert_cli.model.saved_model import read_model
from mbert_cli.prediction.embed_columns import columns_to_embed, task_to_embed
from mbert_cli.prediction.inputs import Inputs, check_texts, sides_of, texts_or_rows
from mbert_cli.prediction.outputs import Outputs


class Predictor:
    """A saved model that predicts and embeds texts. It reads the adapters and the head of a task at their first use.

    Calls and `embed` cut texts that are longer than the model reads. They warn once per call (`UserWarning`).

    Args:
        run: a run folder, or the folder of a saved model.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `int8`. Here, `auto` never chooses int8; that of `mbert predict` can.
        kernels: `auto`, `torch` or `fused`.
        batch_size: largest number of examples in a batch; None to limit only the number of tokens.
        fold: fold adapters into copies of the encoder, one per task, where possible; see `encoder.folding`.
        encoder: the folder of the encoder that the model refers to, if it was moved; see `saved_model.read_model`.

    Raises:
        CheckpointError: there is no model, or it cannot be loaded.
        UsageError: the device does not exist, or it has no such kernels or precision.

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
        self.hardware = choose(device, precision, kernels, prediction=True)
        self.run = Path(run)
        # Adapters are folded before weights are quantised. Products in fp32 need aligned parameters.
        mapped = self.hardware.dtype != torch.float32
        self.saved = read_model(self.run, encoder, self.hardware.int8 and not fold, mapped)
        self.saved.model.to(self.hardware.device).compute_with(self.hardware.dtype, self.hardware.kernels)
        self.batch_size = batch_size
        self.fold = fold
        self.outputs = Outputs(self.saved.model, self.hardware, fold)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the model's tasks."""
        return self.saved.model.task_names

    def read_files_with(self, columns: Mapping[str, str], **settings: str | None) -> None:
        """Override how the tasks' files are read; see `with_file_settings`."""
        section = with_file_settings(self.saved.section, columns, **settings)
        self.saved = replace(self.saved, section=section)

    def __call__(self, rows: Inputs, task: str | None = None) -> Columns:
        """Predict a task for rows of text.

        Args:
            rows: the task's text columns by name, a list of rows that are dicts, or a data frame. If the task reads one
                text, also a list of texts. Other columns are ignored.
            task: the task's name; it may be omitted if the model has only one task.

        Returns:
            `pred`, and `score` or `p_<label>`; each has one value per row.

        Raises:
            CheckpointError: the model has no such task.
            DataError: a column is missing, columns differ in length, or a value is not a text.
            UsageError: the model has several tasks, but none is named.
        """
        if task is None:
            if len(self.tasks) > 1:
                raise UsageError(f"the model has several tasks; name one: {', '.join(self.tasks)}.")
            task = self.tasks[0]
        data = self.tokenise(sides_of(rows, task, self.saved.task(task)), task)
        _warn_of_cut_rows(self.saved.limits, data, task)
        return self.predict_tokens(data, task)

    def predict(self, sides: Sequence[Sequence[Any]], task: str) -> Columns:
        """Predict a task for its texts, or for the two sides of its pairs; for errors see `__call__`."""
        data = self.tokenise(sides, task)
        _warn_of_cut_rows(self.saved.limits, data, task)
        return self.predict_tokens(data, task)

    def tokenise(self, sides: Sequence[Sequence[Any]], task: str) -> TaskData:
        """Return the tokens of a task's texts, as its head reads them; for errors see `__call__`."""
        check_texts(sides, self.saved.task(task).text, task)
        head, section = self.saved.model.head(task), self.saved.task(task)
        return tokenise_texts(self.saved.tokenizer, sides, head.sides, section.symmetric, windows=section.windows)

    def predict_tokens(self, data: TaskData, task: str) -> Columns:
        """Predict a task for tokenised texts."""
        head = self.saved.model.head(task)
        if not len(data):
            return {name: [] for name in head.labels.columns}
        return head.predict(self.outputs(task, data, self.batch_size))

    def truncation(self, strict: bool = False) -> Truncation:
        """Return a counter of the rows that the model cuts, or a check that rejects them if `strict`."""
        return Truncation(self.saved.limits, strict)

    def embed(self, texts: Inputs, task: str | None = None) -> np.ndarray:
        """Return the vectors that a task's head gets.

        Args:
            texts: a list of texts, which are embedded one by one; or a task's rows in any form that a call takes. The
                vector of a row is that of its only text. If the head reads pairs as one sequence, it is that of the
                sequence; for a symmetric task, of the sequence in the given order.
            task: the task whose adapters are used; it may be omitted if no task has adapters.

        Returns:
            ``[rows, hidden]``, float32.

        Raises:
            CheckpointError: the model has no such task.
            DataError: a column is missing, columns differ in length, or a value is not a text.
            UsageError: the vectors differ by task, but no task is named; or rows of pairs are given to a task whose
                head reads both texts apart.
        """
        task = task_to_embed(self.saved, task)
        section = self.saved.task(task)
        alone, texts = texts_or_rows(texts, task)
        if alone is None and columns_to_embed(self.saved, task) != section.text:
            one, two = section.text
            raise UsageError(
                f"task {task} reads {one} and {two} apart, so that a row has two vectors; give one list of texts."
            )
        sides = [alone] if alone is not None else sides_of(texts, task, section)
        data = self.tokenise_to_embed(sides, task)
        _warn_of_cut_rows(self.saved.limits, data, task)
        return self.embed_tokens(data, task)

    def tokenise_to_embed(self, sides: Sequence[Sequence[Any]], task: str) -> TaskData:
        """Return the tokens of texts, or of pairs as one sequence each."""
        check_texts(sides, self.saved.task(task).text if len(sides) > 1 else ["the text"], task)
        return TaskData((self.saved.tokenizer.encode(*sides, windows=self.saved.task(task).windows),), None)

    def embed_tokens(self, data: TaskData, task: str) -> np.ndarray:
        """Return the vectors of tokenised texts, ``[rows, hidden]``, float32."""
        if not len(data):
            return np.zeros((0, self.saved.model.shape.hidden_size), np.float32)
        return self.outputs(task, data, self.batch_size, vectors=True).numpy()


def _warn_of_cut_rows(limits: LengthLimits, data: TaskData, task: str) -> None:
    """Warn the caller's caller if rows were cut."""
    if data.cut:
        warnings.warn(f"{limits.warning(task, len(data.cut), len(data))}.", stacklevel=3)
