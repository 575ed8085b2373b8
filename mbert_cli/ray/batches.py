"""Callable classes for `map_batches` of Ray Data: an actor loads the model once, and then computes many batches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mbert_cli.errors import DataError
from mbert_cli.prediction.predict_table import prefix_of
from mbert_cli.prediction.predictor import Predictor

Batch = Mapping[str, Any]
"""The columns of some rows, by name."""


class PredictBatch:
    """Appends predictions to the rows of a batch.

    The columns have the names that `mbert predict` gives them: `pred`, and `score` or `p_<label>`; if there are several
    tasks, each starts with the name of its task. Rows that are computed in other batches can differ in the last digits.

    Args:
        run: a run folder, or the folder of a saved model. Every machine of the cluster needs it at this path, which
            must be absolute, because an actor has its own working folder.
        tasks: the tasks to predict; all by default.
        options: options of `Predictor`, such as `device` or `precision`.

    Raises:
        MbertError: see `Predictor`.

    Example:
        >>> ray.data.read_csv("new.csv").map_batches(PredictBatch, fn_constructor_args=("/data/runs/demo", "mood"))
    """

    def __init__(self, run: str | Path, *tasks: str, **options: Any) -> None:
        self._predictor = Predictor(run, **options)
        self._tasks: Sequence[str] = tasks or self._predictor.tasks
        for task in self._tasks:
            self._predictor.saved.task(task)  # reports an unknown task before the first batch

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Return the columns of a batch together with the predictions.

        Raises:
            DataError: a text column is missing, a value is not a text, or a prediction has the name of a column.
        """
        result: dict[str, Any] = dict(batch)
        for task in self._tasks:
            for name, values in self._predictor(batch, task=task).items():
                _append(result, prefix_of(task, self._tasks) + name, np.asarray(values))
        return result


class EmbedBatch:
    """Appends the column `embedding` to the rows of a batch: the vectors of `Predictor.embed`, float32.

    Args:
        run: see `PredictBatch`.
        task: the task whose adapters are used; it may be omitted if no task has adapters.
        text: the column to embed alone; None for the text, or the pair, that the task's head reads.
        options: see `PredictBatch`.

    Raises:
        MbertError: see `Predictor`.
    """

    def __init__(self, run: str | Path, task: str | None = None, text: str | None = None, **options: Any) -> None:
        self._predictor = Predictor(run, **options)
        self._task, self._text = task, text

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Return the columns of a batch together with the vectors.

        Raises:
            DataError: a text column is missing, a value is not a text, or a column is called `embedding`.
        """
        if self._text is not None and self._text not in batch:
            raise DataError(f"the batch has no column '{self._text}'; it has {', '.join(batch)}.")
        vectors = self._predictor.embed(batch if self._text is None else list(batch[self._text]), task=self._task)
        result: dict[str, Any] = dict(batch)
        _append(result, "embedding", vectors)
        return result


def _append(result: dict[str, Any], name: str, values: np.ndarray) -> None:
    if name in result:
        raise DataError(f"the batch already has a column '{name}', which the prediction would add; rename it.")
    result[name] = values
