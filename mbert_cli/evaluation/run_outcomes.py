"""Run the saved model of a run on labelled files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import Examples, example_windows, joined
from mbert_cli.data.folds import read_fold
from mbert_cli.data.hub import is_there
from mbert_cli.data.source import sha256_of_data
from mbert_cli.data.truncation import Truncation
from mbert_cli.errors import DataError, UsageError
from mbert_cli.evaluation.evaluate import Outcome, evaluation_of, outcome_of
from mbert_cli.evaluation.options import EvaluationFiles, Fitting
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.reports.evaluation_folder import Evaluation
from mbert_cli.terminal.console import Console

_SKIP_REMEDY = "add --on-bad-row skip"


@dataclass(frozen=True)
class RunOutcomes:
    """The outputs of a run's best model for the examples of files.

    Args:
        predictor: the model.
        split: the recipe's files that were used, unless `sha256` has others.
        files: the file of each task.
        sha256: hashes of the files that replace those of the recipe; None for a stream, which can be read only once.
        tasks: the outcome of each task.
        truncation: numbers of rows that were cut.
    """

    predictor: Predictor
    split: str
    files: Mapping[str, str]
    sha256: Mapping[str, str | None]
    tasks: Mapping[str, Outcome]
    truncation: Truncation

    def evaluation(self) -> Evaluation:
        """Return metrics and predictions with the current thresholds and temperatures, and each task's file."""
        evaluation = evaluation_of(self.predictor.saved.model, self.tasks)
        sources = {name: self._source(name) for name in self.tasks}
        split = None if self.sha256 else self.split
        max_length = self.predictor.saved.tokenizer.max_length
        return evaluation.of(split, sources, run=str(self.predictor.run), max_length=max_length)

    def _source(self, name: str) -> dict[str, Any]:
        if name not in self.sha256:
            return {"file": self.files[name], "split": self.split}
        return {"file": self.files[name], "split": None, "sha256": self.sha256[name]}


def check_dev_files(predictor: Predictor, files: EvaluationFiles, fitting: Fitting) -> None:
    """Check that files to fit to only replace dev files that no longer exist.

    Raises:
        CheckpointError: the model has no such task.
        UsageError: the recipe's dev file of a task exists.
    """
    for name in files.others:
        dev = predictor.saved.task(name).dev
        if is_there(dev):
            raise UsageError(
                f"{fitting.options}: fitting uses the recipe's dev files only, and {dev} exists; remove --data."
            )


def run_outcomes(
    predictor: Predictor, files: EvaluationFiles, console: Console, processes: Processes = ALONE
) -> RunOutcomes:
    """Run a run's best model on labelled files. All metrics can be computed from the result.

    Args:
        predictor: the model.
        files: the files.
        console: prints notes about the files.
        processes: the processes that share the batches; all get the whole result.

    Raises:
        CheckpointError: the model has no such task.
        UsageError: a task has no file for the split.
        DataError: a file cannot be used.
    """
    saved = predictor.saved
    names = list(files.tasks) or list(files.others) or list(predictor.tasks)
    with processes.together():
        for name in (*names, *files.others):
            saved.task(name)
        sources = {name: _path_of(predictor, name, files) for name in names}
        sha256 = {name: sha256_of_data(sources[name]) for name in names if name in files.others}
    truncation = predictor.truncation(files.strict_length)
    outcomes = {}
    for name in names:
        notes = Examples([])
        part = None if name in files.others or files.split == "test" else files.split
        windows = _windows(predictor, name, sources[name], part, files.limit, truncation, notes)
        parts = [
            outcome_of(saved.model, name, data, predictor.batch_size, processes) for data in _in_all(windows, processes)
        ]
        for note in notes.notes(sources[name]):
            console.note(note)
        outcomes[name] = Outcome.joined(parts)
    return RunOutcomes(predictor, files.split, sources, sha256, outcomes, truncation)


def _path_of(predictor: Predictor, name: str, files: EvaluationFiles) -> str:
    """Return the file of a task.

    Raises:
        UsageError: the recipe has no file for the split.
        DataError: the recipe's file does not exist.
    """
    if name in files.others:
        return files.others[name]
    path: str | None = getattr(predictor.saved.task(name), files.split)
    remedy = f"use --data {name}=FILE"
    if path is None:
        raise UsageError(f"task {name} has no {files.split} file in its recipe; {remedy}.")
    if not is_there(path):
        raise DataError(f"{path}: the {files.split} file of task {name} does not exist; {remedy}.")
    return path


def _windows(
    predictor: Predictor,
    name: str,
    path: str,
    part: Literal["train", "dev"] | None,
    limit: int | None,
    truncation: Truncation,
    notes: Examples,
) -> Iterator[TaskData]:
    """Yield the examples of a file; only a few thousand of them are in memory unless there is a limit.

    Args:
        predictor: the model.
        name: the task's name.
        path: the file.
        part: of a task with a fold, the rows of the file to use; None for all.
        limit: largest number of examples; None for all.
        truncation: counts the rows that are cut.
        notes: receives the rows that are skipped, and the warnings about the file.
    """
    saved, task = predictor.saved, predictor.saved.task(name)
    head = saved.model.head(name)
    if task.fold is not None and part is not None:
        windows = iter([read_fold(name, task, head.labels, skip_remedy=_SKIP_REMEDY)[part]])
    else:
        windows = example_windows(path, name, task, head.labels, skip_remedy=_SKIP_REMEDY)
    if limit is not None:
        windows = iter([joined(windows).spread(limit)])
    for window in windows:
        notes.skipped += window.skipped
        notes.warnings += window.warnings
        if len(window):
            data = tokenise(saved.tokenizer, window, head.sides, task.symmetric, task.windows)
            truncation.add(name, data, path, window.lines)
            yield data


def _in_all(windows: Iterator[TaskData], processes: Processes) -> Iterator[TaskData]:
    """Yield windows; if a process cannot read one, all fail with one message."""
    while True:
        with processes.together():
            window = next(windows, None)
        if window is None:
            return
        yield window
