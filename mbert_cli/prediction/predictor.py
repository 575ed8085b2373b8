"""One procedure: predict. Also `Predictor`, the same from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mbert_cli.data.batching import TaskData, tokenise_texts
from mbert_cli.data.file_settings import with_file_settings
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import UsageError
from mbert_cli.heads import Columns
from mbert_cli.machine.hardware import choose
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_model import read_model
from mbert_cli.prediction.embed_columns import columns_to_embed, task_to_embed
from mbert_cli.prediction.inputs import Inputs, check_texts, sides_of, texts_or_rows
from mbert_cli.prediction.run_model import run_model


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
        self._folded: dict[str, MultiTaskBert] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the model's tasks."""
        return self.saved.model.task_names

    def read_files_with(self, columns: Mapping[str, str], **settings: str | None) -> None:
        """Read the tasks' files otherwise than the model's recipe says; see `with_file_settings`."""
        section = with_file_settings(self.saved.section, columns, **settings)
        self.saved = replace(self.saved, section=section)

    def __call__(self, rows: Inputs, task: str | None = None) -> Columns:
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
            return {name: [] for name in head.labels.columns}
        return head.predict(run_model(self._model(task), task, data, self.batch_size))

    def truncation(self, strict: bool = False) -> Truncation:
        """Return what counts rows that the model cuts, or refuses them."""
        return Truncation(self.saved.tokenizer.max_length, self.saved.model.encoder.shape.max_positions, strict)

    def embed(self, texts: Inputs, task: str | None = None) -> np.ndarray:
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
        task = task_to_embed(self.saved, task)
        section = self.saved.task(task)
        alone, texts = texts_or_rows(texts, task)
        if alone is not None:
            return self.embed_tokens(self.tokenise_to_embed([alone], task), task)
        if columns_to_embed(self.saved, task) != section.text:
            one, two = section.text
            raise UsageError(
                f"task {task} reads {one} and {two} apart, so that a row has two vectors; give one list of texts."
            )
        return self.embed_tokens(self.tokenise_to_embed(sides_of(texts, task, section), task), task)

    def tokenise_to_embed(self, sides: Sequence[Sequence[Any]], task: str) -> TaskData:
        """Return the tokens of texts, or of pairs as one sequence each."""
        check_texts(sides, self.saved.task(task).text if len(sides) > 1 else ["the text"], task)
        return TaskData((self.saved.tokenizer.encode(*sides),), None)

    def embed_tokens(self, data: TaskData, task: str) -> np.ndarray:
        """Return the vectors of texts that were tokenised."""
        if not len(data):
            return np.zeros((0, self.saved.model.encoder.shape.hidden_size), np.float32)
        return run_model(self._model(task), task, data, self.batch_size, vectors=True).numpy()

    def _model(self, task: str) -> MultiTaskBert:
        """Return the model that predicts a task. Folding waits for the first use, when the threads are chosen."""
        if not self.fold:
            return self.saved.model
        if task not in self._folded:
            self._folded[task] = self.saved.model.folded(task)
        return self._folded[task]
