"""The procedure of `mbert compare`: find or compute the predictions of two runs, then compare them.

PyTorch is only imported if a file has to be predicted.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mbert_cli.evaluation.options import EvaluationFiles, Fitting
from mbert_cli.reports.evaluation_folder import write_evaluation
from mbert_cli.reports.pair_comparison import Comparison, compare
from mbert_cli.reports.run_predictions import (
    RunPredictions,
    TaskPredictions,
    fitted_note,
    predictions_in,
    saved_predictions,
)
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor

Load = Callable[[Path], "Predictor"]
"""Loads the model of a run."""


def compare_runs(a: Path, b: Path, load: Load, files: EvaluationFiles, console: Console) -> Comparison:
    """Compare two runs on the same rows.

    Args:
        a: run A: a run folder, or the folder of a saved model.
        b: run B.
        load: loads the model of a run; called only if `files` names other files.
        files: the files. Tasks without another file use the predictions for dev that training has saved.
        console: prints notes.

    Raises:
        CheckpointError: there is no model, or saved predictions cannot be read.
        DataError: a file cannot be used.
        UsageError: a run has no such task, or the runs were not scored on the same rows.
    """
    names = list(dict.fromkeys(files.tasks or files.others))
    with TemporaryDirectory() as folder:
        own, other = (
            _predictions(run, load, files, names, Path(folder, name), console) for run, name in ((a, "a"), (b, "b"))
        )
        return compare(own, other, names)


def _predictions(
    run: Path, load: Load, files: EvaluationFiles, names: list[str], folder: Path, console: Console
) -> RunPredictions:
    """Return the predictions of a run; those for other files are written to a new folder."""
    tasks: dict[str, TaskPredictions] = {}
    if not names or not set(names) <= set(files.others):
        tasks = {name: each for name, each in saved_predictions(run).items() if name not in files.others}
        note = fitted_note(run, tasks)
        if note is not None:
            console.info(note)
    if files.others:
        tasks |= _predicted(run, load, files, folder, console)
    return RunPredictions(run, tasks)


def _predicted(
    run: Path, load: Load, files: EvaluationFiles, folder: Path, console: Console
) -> dict[str, TaskPredictions]:
    from mbert_cli.evaluation.evaluate_run import evaluate_run

    predictor = load(run)
    only_others = EvaluationFiles(others=files.others, limit=files.limit)
    result = evaluate_run(run, lambda: predictor, only_others, Fitting(), 0, console)
    folder.mkdir()
    write_evaluation(folder, result.evaluation)
    if result.truncation_note is not None:
        console.note(result.truncation_note)
    return predictions_in(folder, predictor.saved.section.tasks)
