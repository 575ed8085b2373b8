"""Evaluate a model on tokenised examples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mbert_cli.data.batching import TaskData
from mbert_cli.heads import ClassHead, Columns, Head
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.metrics import MATRIX_LIMIT, Metrics, overall
from mbert_cli.model.ensemble import mean_outputs
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.prediction.run_model import run_model
from mbert_cli.reports.evaluation_folder import Evaluation, Predictions

_BLOCK = 8192  # rows of predictions in memory
_MOST_CELLS = 1 << 22  # probabilities in memory


def evaluate(
    model: SentenceModel, data: Mapping[str, TaskData], batch_size: int | None = None, processes: Processes = ALONE
) -> Evaluation:
    """Return the metrics and predictions of every task, and the score over all tasks.

    Args:
        model: the model; it is put into evaluation mode.
        data: labelled examples of each task to evaluate.
        batch_size: largest number of examples in a batch.
        processes: the processes that share the batches; all get the whole result.

    Returns:
        For each task the metrics of its head, the number of examples, the mean loss, and the name of the metric that
        represents the task in the score over all tasks.
    """
    return evaluation_of(model, outcomes_of(model, data, batch_size, processes))


@dataclass(frozen=True)
class Outcome:
    """The outputs of a head for labelled examples.

    Args:
        lines: the line of its file at which each example begins.
        labels: true labels.
        outputs: outputs of the head, one row per example.
        cut: number of examples with a text that was cut.
    """

    lines: np.ndarray
    labels: Tensor
    outputs: Tensor
    cut: int = 0

    @classmethod
    def joined(cls, parts: Sequence["Outcome"]) -> "Outcome":
        """Return one outcome for consecutive examples."""
        labels, outputs = (torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "outputs"))
        return cls(np.concatenate([part.lines for part in parts]), labels, outputs, sum(part.cut for part in parts))


def outcome_of(
    model: SentenceModel,
    task: str,
    examples: TaskData,
    batch_size: int | None = None,
    processes: Processes = ALONE,
) -> Outcome:
    """Return the outputs of a task's head for labelled examples."""
    assert examples.labels is not None, "without labels there are no metrics"
    outputs = run_model(model, task, examples, batch_size, processes=processes)
    return Outcome(
        np.asarray(examples.lines, dtype=np.int64), torch.from_numpy(examples.labels), outputs, len(examples.cut)
    )


def outcomes_of(
    model: SentenceModel, data: Mapping[str, TaskData], batch_size: int | None = None, processes: Processes = ALONE
) -> dict[str, Outcome]:
    """Return the outcome of each task; the arguments are those of `evaluate`."""
    return {task: outcome_of(model, task, examples, batch_size, processes) for task, examples in data.items()}


def mean_outcomes(members: Sequence[Mapping[str, Outcome]]) -> dict[str, Outcome]:
    """Return the outcomes of an ensemble, given the outcomes of its members for the same examples."""
    first = members[0]
    means = {task: mean_outputs([each[task].outputs for each in members]) for task in first}
    return {task: replace(outcome, outputs=means[task]) for task, outcome in first.items()}


def evaluation_of(model: SentenceModel, outcomes: Mapping[str, Outcome]) -> Evaluation:
    """Return the result of `evaluate` for known outcomes."""
    tasks: dict[str, Metrics] = {}
    predictions: dict[str, _Blocks] = {}
    for task, outcome in outcomes.items():
        head = model.head(task)
        tasks[task] = {
            "examples": len(outcome.labels),
            "cut": outcome.cut,
            "main_metric": head.main_metric,
            "loss": float(head.loss(head.calibrated(outcome.outputs), outcome.labels)),
            **head.metrics(outcome.outputs, outcome.labels),
        }
        predictions[task] = _Blocks(outcome, head)
    main = {task: (metrics["main_metric"], metrics[metrics["main_metric"]]) for task, metrics in tasks.items()}
    return Evaluation({"tasks": tasks, "overall": overall(main)}, predictions)


@dataclass(frozen=True)
class _Blocks:
    """Predictions, computed in blocks while they are written.

    Args:
        outcome: the outcome of all examples.
        head: head of the task.
    """

    outcome: Outcome
    head: Head

    def __iter__(self) -> Iterator[Predictions]:
        lines, labels, outputs = self.outcome.lines, self.outcome.labels, self.outcome.outputs
        block = max(1, min(_BLOCK, _MOST_CELLS // len(self.head.labels.columns)))
        for start in range(0, len(labels), block):
            rows = slice(start, start + block)
            yield Predictions(
                lines[rows].tolist(), self.head.label_texts(labels[rows]), _columns(self.head, outputs[rows])
            )


def _columns(head: Head, outputs: Tensor) -> Columns:
    """Return the columns of predictions; with very many classes, only the probability of the predicted class."""
    if isinstance(head, ClassHead) and len(head.labels) > MATRIX_LIMIT:
        return head.predict_briefly(outputs)
    return head.predict(outputs)
