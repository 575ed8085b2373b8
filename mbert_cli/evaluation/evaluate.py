"""One procedure: evaluate; on data at hand, or on a run's files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import Examples, example_windows, read_examples
from mbert_cli.data.hub import is_there
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import BadRowsError, DataError, UsageError
from mbert_cli.heads import ClassHead, Columns, Head
from mbert_cli.metrics import MATRIX_LIMIT, Metrics, overall
from mbert_cli.model.ensemble import mean_outputs
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.prediction.run_model import run_model
from mbert_cli.reports.evaluation_folder import Evaluation, Predictions
from mbert_cli.storage.atomic import sha256_of
from mbert_cli.terminal.console import Console

_BLOCK = 8192  # predictions written at once
_MOST_CELLS = 1 << 22  # probabilities computed at once


def evaluate(model: SentenceModel, data: Mapping[str, TaskData], batch_size: int | None = None) -> Evaluation:
    """Return the metrics and predictions of every task, and the score over all.

    Args:
        model: the model; it is put into evaluation mode.
        data: labelled examples of each task to evaluate.
        batch_size: examples of a batch at most.

    Returns:
        The metrics as the task's head gives them, with the number of examples, the mean loss and the name of the metric
        that stands for the task.
    """
    return evaluation_of(model, outcomes_of(model, data, batch_size))


@dataclass(frozen=True)
class Outcome:
    """What a head gave for examples, and what it should have given: what is kept of each example till the end.

    Args:
        lines: where each begins in its file.
        labels: the true ones.
        outputs: the head's.
        cut: of how many a text was cut.
    """

    lines: np.ndarray
    labels: Tensor
    outputs: Tensor
    cut: int = 0


def outcomes_of(
    model: SentenceModel, data: Mapping[str, TaskData], batch_size: int | None = None
) -> dict[str, Outcome]:
    """Return what the heads of a model give for the examples of each task; args are those of `evaluate`."""
    return {task: _outcome(model, task, examples, batch_size) for task, examples in data.items()}


def mean_outcomes(members: Sequence[Mapping[str, Outcome]]) -> dict[str, Outcome]:
    """Return what an ensemble gives for examples whose outcomes of each member are known."""
    first = members[0]
    means = {task: mean_outputs([each[task].outputs for each in members]) for task in first}
    return {task: replace(outcome, outputs=means[task]) for task, outcome in first.items()}


def _outcome(model: SentenceModel, task: str, examples: TaskData, batch_size: int | None) -> Outcome:
    assert examples.labels is not None, "without labels nothing can be evaluated"
    outputs = run_model(model, task, examples, batch_size)
    return Outcome(
        np.asarray(examples.lines, dtype=np.int64), torch.from_numpy(examples.labels), outputs, len(examples.cut)
    )


def _joined(parts: Sequence[Outcome]) -> Outcome:
    labels, outputs = (torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "outputs"))
    return Outcome(np.concatenate([part.lines for part in parts]), labels, outputs, sum(part.cut for part in parts))


def evaluation_of(model: SentenceModel, outcomes: Mapping[str, Outcome]) -> Evaluation:
    """Return what `evaluate` does, of outcomes at hand."""
    found: dict[str, Metrics] = {}
    predictions: dict[str, _Blocks] = {}
    for task, outcome in outcomes.items():
        head = model.head(task)
        found[task] = {
            "examples": len(outcome.labels),
            "cut": outcome.cut,
            "main_metric": head.main_metric,
            "loss": float(head.loss(head.calibrated(outcome.outputs), outcome.labels)),
            **head.metrics(outcome.outputs, outcome.labels),
        }
        predictions[task] = _Blocks(outcome, head, found[task].get("labels"))
    main = {task: (metrics["main_metric"], metrics[metrics["main_metric"]]) for task, metrics in found.items()}
    return Evaluation({"tasks": found, "overall": overall(main)}, predictions)


@dataclass(frozen=True)
class _Blocks:
    """Predictions as they are written, some thousands at a time.

    Args:
        outcome: of all examples.
        head: the task's.
        names: of the classes; None of anything else.
    """

    outcome: Outcome
    head: Head
    names: Sequence[str] | None

    def __iter__(self) -> Iterator[Predictions]:
        lines, labels, outputs = self.outcome.lines, self.outcome.labels, self.outcome.outputs
        block = max(1, min(_BLOCK, _MOST_CELLS // len(self.names or "1")))
        for start in range(0, len(labels), block):
            rows = slice(start, start + block)
            yield Predictions(
                lines[rows].tolist(), _label_texts(labels[rows], self.names), _columns(self.head, outputs[rows])
            )


def _columns(head: Head, outputs: Tensor) -> Columns:
    """Return what a file of predictions holds: with very many classes the probability of the predicted one only."""
    if isinstance(head, ClassHead) and len(head.labels) > MATRIX_LIMIT:
        return head.predict_briefly(outputs)
    return head.predict(outputs)


def _label_texts(labels: Tensor, names: Sequence[str] | None) -> list[str] | list[float]:
    """Return true labels as a prediction gives them: classes by name, anything else as a number."""
    return labels.tolist() if names is None else [names[int(label)] for label in labels]


@dataclass(frozen=True)
class RunOutcomes:
    """What a run's best model gave for the examples of files.

    Args:
        predictor: of the run.
        split: `train`, `dev` or `test`.
        files: each task's.
        sha256: of the files that stand in place of the recipe's; None where one can be read once only.
        tasks: each task's outcome.
        truncation: how many examples were cut.
    """

    predictor: Predictor
    split: str
    files: Mapping[str, str]
    sha256: Mapping[str, str | None]
    tasks: Mapping[str, Outcome]
    truncation: Truncation

    def evaluation(self) -> Evaluation:
        """Return what `evaluate` returns, as the model decides now, with the run, the split and each task's file."""
        found = evaluation_of(self.predictor.saved.model, self.tasks)
        sources = {name: self._source(name) for name in self.tasks}
        split = None if self.sha256 else self.split
        max_length = self.predictor.saved.tokenizer.max_length
        return found.of(split, sources, run=str(self.predictor.run), max_length=max_length)

    def _source(self, name: str) -> dict[str, Any]:
        if name not in self.sha256:
            return {"file": self.files[name], "split": self.split}
        return {"file": self.files[name], "split": None, "sha256": self.sha256[name]}


def check_dev_files(predictor: Predictor, files: Mapping[str, str], fits: str) -> None:
    """Check that files which are given to fit to stand in for dev files that are not there any more.

    Raises:
        CheckpointError: there is no such task.
        UsageError: the recipe's dev file of a task is there.
    """
    for name in files:
        dev = predictor.saved.task(name).dev
        if is_there(dev):
            raise UsageError(
                f"{fits}: the recipe's dev files are fitted to, and nothing else; {dev} is there: leave out --data."
            )


def run_outcomes(
    predictor: Predictor,
    split: Literal["train", "dev", "test"],
    files: Mapping[str, str],
    tasks: Sequence[str],
    limit: int | None,
    console: Console,
    strict_length: bool = False,
) -> RunOutcomes:
    """Run a run's best model on its recipe's files, or on others; from the outcomes follow all metrics.

    Args:
        predictor: of the run.
        split: which of the recipe's files.
        files: for some tasks a file in place of the recipe's. Where any is given, only those tasks are evaluated,
            unless `tasks` names others.
        tasks: the tasks to evaluate; all by default.
        limit: how many examples to take of each file at most, spread evenly over it.
        console: where skipped rows are printed.
        strict_length: refuse a row in place of cutting it.

    Raises:
        CheckpointError: there is no such task.
        UsageError: a task has no file for the split.
        DataError: a file cannot be used.
    """
    saved = predictor.saved
    chosen = list(tasks) or list(files) or list(predictor.tasks)
    for name in (*chosen, *files):
        saved.task(name)
    truncation = predictor.truncation(strict_length)
    outcomes: dict[str, Outcome] = {}
    sources: dict[str, str] = {}
    sha256: dict[str, str | None] = {}
    for name in chosen:
        task = saved.task(name)
        path = files.get(name) or getattr(task, split)
        if path is None:
            raise UsageError(f"task {name} has no {split} file in its recipe; give one: --data {name}=FILE.")
        if name not in files and not is_there(path):
            raise DataError(
                f"{path}: is not there any more: the {split} file of task {name}; give it: --data {name}=FILE."
            )
        sources[name] = path
        if name in files:
            sha256[name] = sha256_of(Path(path)) if os.path.isfile(path) else None
        try:
            outcomes[name] = _evaluate_file(predictor, name, path, limit, truncation, console)
        except BadRowsError as error:
            *others, last = error.problems
            place, _, _ = last.rpartition("or set ")
            raise BadRowsError(*others, f"{place}or add --on-bad-row skip.") from None
    return RunOutcomes(predictor, split, sources, sha256, outcomes, truncation)


def evaluate_run(
    predictor: Predictor,
    split: Literal["train", "dev", "test"],
    files: Mapping[str, str],
    tasks: Sequence[str],
    limit: int | None,
    console: Console,
) -> Evaluation:
    """Evaluate a run's best model on its recipe's files, or on others; args and errors are those of `run_outcomes`.

    Returns:
        What `evaluate` returns, with the run, the split and each task's file.
    """
    return run_outcomes(predictor, split, files, tasks, limit, console).evaluation()


def _evaluate_file(
    predictor: Predictor, name: str, path: str, limit: int | None, truncation: Truncation, console: Console
) -> Outcome:
    """Return the outcome of a file's examples, of which no more than a few thousand are in memory, unless limited."""
    saved, task = predictor.saved, predictor.saved.task(name)
    head = saved.model.head(name)
    if limit is None:
        windows = example_windows(path, name, task, head.labels)
    else:
        windows = iter([read_examples(path, name, task, head.labels, limit)])
    parts, read = [], Examples([])
    for window in windows:
        read.skipped += window.skipped
        read.warnings += window.warnings
        if len(window):
            data = tokenise(saved.tokenizer, window, head.sides, task.symmetric)
            truncation.add(name, data, path, window.lines)
            parts.append(_outcome(saved.model, name, data, predictor.batch_size))
    for note in read.notes(path):
        console.info(note)
    return _joined(parts)
