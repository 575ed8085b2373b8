"""The procedure of `mbert evaluate`: fit thresholds and temperatures if requested, then evaluate a run's best model."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.evaluation.int8_comparison import compare_with_fp32, save_comparison
from mbert_cli.evaluation.options import EvaluationFiles, Fitting
from mbert_cli.evaluation.run_outcomes import RunOutcomes, check_dev_files, run_outcomes
from mbert_cli.evaluation.tune import check_fits, reset_decisions, tune
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.decisions import write_decisions
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.reports.evaluation_folder import Evaluation, write_evaluation
from mbert_cli.reports.figures import draw_if_possible, write_figures
from mbert_cli.reports.largest_errors import TopError, errors_of, write_top_errors
from mbert_cli.storage.output_folder import OutputFolder
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import model_locked
from mbert_cli.terminal.console import Console


@dataclass(frozen=True)
class RunEvaluation:
    """The result of `evaluate_run`.

    Args:
        run: the run that was evaluated.
        evaluation: metrics and predictions.
        errors: the largest errors of each task; empty if none were requested.
        truncation_note: a message about texts that were cut; None if none were.
    """

    run: Path
    evaluation: Evaluation
    errors: Mapping[str, list[TopError]]
    truncation_note: str | None

    def write(self, folder: OutputFolder, console: Console) -> None:
        """Write metrics, predictions, errors and figures to a folder, which replaces an existing one.

        Args:
            folder: the folder.
            console: prints a note if figures cannot be drawn.

        Raises:
            ResourceError: the disk is full.
            UsageError: the folder cannot be written to, or must not be replaced.
        """

        def write(at: Path) -> None:
            write_evaluation(at, self.evaluation)
            write_top_errors(at, self.errors)
            write_figures(at, draw_if_possible(at, RunFolder(self.run).metrics_file, console))

        folder.write(write)


def evaluate_run(
    run: Path,
    load: Callable[[], Predictor],
    files: EvaluationFiles,
    fitting: Fitting,
    most_errors: int,
    console: Console,
    processes: Processes = ALONE,
    load_fp32: Callable[[], Predictor] | None = None,
) -> RunEvaluation:
    """Evaluate a run's best model.

    Args:
        run: the run folder, or the folder of a saved model.
        load: loads the model; called once the model is locked, if it is changed.
        files: the files to evaluate on.
        fitting: fits to the dev files before the evaluation; the results are saved in the model.
        most_errors: number of largest errors to return per task.
        console: prints notes.
        processes: the processes that share the batches; only the first one changes the model, all get the result.
        load_fp32: loads the model in fp32, with which a model in int8 is compared; None for no comparison.

    Raises:
        CheckpointError: there is no model, or it has no such task.
        DataError: a file cannot be used.
        NotFiniteError: outputs that a fit needs are not finite.
        RunInUseError: the model is changed, but another process uses the run.
        UsageError: nothing can be fitted, or a task has no file.
    """
    outcomes, fitted = _fitted_outcomes(run, load, files, fitting, console, processes)
    evaluation = outcomes.evaluation()
    if fitted:
        evaluation.metrics["fitted"] = fitted
    if load_fp32 is not None and outcomes.predictor.hardware.int8:
        exact = run_outcomes(load_fp32(), files, Console(quiet=True), processes)
        evaluation.metrics["int8"] = compare_with_fp32(outcomes, exact)
        if processes.is_first:
            save_comparison(outcomes, files, evaluation.metrics["int8"], console)
    errors: dict[str, list[TopError]] = {}
    if most_errors:
        with tempfile.TemporaryDirectory() as at:
            write_evaluation(Path(at), evaluation)
            tasks = outcomes.predictor.saved.section.tasks
            errors = errors_of(Path(at), evaluation.metrics, tasks, most_errors)
    return RunEvaluation(run, evaluation, errors, outcomes.truncation.note())


def _fitted_outcomes(
    run: Path,
    load: Callable[[], Predictor],
    files: EvaluationFiles,
    fitting: Fitting,
    console: Console,
    processes: Processes,
) -> tuple[RunOutcomes, dict[str, object]]:
    """Return the model's outputs and the result of `tune`; what was fitted is saved in the model."""
    with ExitStack() as lock:
        with processes.together():
            is_changed_here = fitting.changes_model and processes.is_first
            model_folder = lock.enter_context(model_locked(run)) if is_changed_here else run
            predictor = load()
            model = predictor.saved.model
            if fitting.options:
                check_dev_files(predictor, files, fitting)
            check_fits(predictor, files.tasks, fitting)
        with processes.together():  # all processes have loaded the model
            if fitting.reset:
                reset_decisions(model, files.tasks)
            if fitting.reset and is_changed_here:  # saved at once, because the dev files may no longer exist
                write_decisions(model_folder, model)
        outcomes = run_outcomes(predictor, files, console, processes)
        with processes.together():
            fitted = tune(outcomes, fitting, console)
            if fitted and is_changed_here:
                write_decisions(model_folder, model)
                console.info(f"saved the fitted values in {model_folder}")
    return outcomes, fitted
