"""Fit thresholds and temperatures to the dev files. Weights do not change."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mbert_cli.calibration import HOTTEST, Criterion, Decision, best_temperature, negative_log_likelihood
from mbert_cli.errors import DataError, NotFiniteError, UsageError, command_line
from mbert_cli.evaluation.options import Fitting
from mbert_cli.evaluation.run_outcomes import RunOutcomes
from mbert_cli.evaluation.threshold_search import best_cut
from mbert_cli.heads import DecidingHead
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.terminal.console import Console

_LARGE_DIFFERENCE = 0.1  # between precision and recall


def check_fits(predictor: Predictor, tasks: Sequence[str], fitting: Fitting) -> None:
    """Check, before anything is computed, that a task has something to fit.

    Args:
        predictor: the model.
        tasks: the requested tasks; all if empty.
        fitting: the requested fits.

    Raises:
        CheckpointError: the model has no such task.
        UsageError: no task has two classes, for a threshold, or any classes, for a temperature.
    """
    for name in tasks:
        predictor.saved.task(name)
    names = ", ".join(tasks or predictor.tasks)
    heads = [head for _, head in _deciding_heads(predictor.saved.model, tasks)]
    if fitting.criterion is not None and not any(head.has_thresholds for head in heads):
        raise UsageError(
            f"--tune-thresholds: a threshold separates two classes, but none of these tasks has two classes: {names}."
        )
    if fitting.calibrate and not heads:
        raise UsageError(
            f"--calibrate: a temperature needs probabilities of classes, but none of these tasks has classes: {names}."
        )


def tune(outcomes: RunOutcomes, fitting: Fitting, console: Console) -> dict[str, Any]:
    """Fit temperatures, then thresholds, and set them in the heads of the model.

    Args:
        outcomes: the outputs of the model on its dev files.
        fitting: the requested fits. Thresholds are fitted for tasks with two classes, temperatures for all tasks with
            classes.
        console: prints a note if a temperature cannot be fitted.

    Returns:
        For each task with a fit, `before` and `after`: threshold, precision, recall, F1 and accuracy for two classes;
        micro F1, macro F1 and exact matches for several labels a row; if temperatures are fitted, temperature and mean
        negative log-likelihood, and for classes the expected calibration error.

    Raises:
        DataError: all rows of a file have the same class, so nothing can be fitted.
        NotFiniteError: outputs of the model are not finite.
    """
    fitted: dict[str, Any] = {}
    for name, head in _deciding_heads(outcomes.predictor.saved.model, list(outcomes.tasks)):
        if not ((fitting.criterion is not None and head.has_thresholds) or fitting.calibrate):
            continue
        outputs, labels = outcomes.tasks[name].outputs, outcomes.tasks[name].labels
        _check_can_fit(outcomes.files[name], name, head, outputs, labels)
        before = _state(head, outputs, labels, fitting.calibrate)
        if fitting.calibrate:
            fit_temperature(name, head, outputs, labels, console)
        if fitting.criterion is not None and head.has_thresholds:
            fit_thresholds(head, outputs, labels, fitting.criterion)
        fitted[name] = {"before": before, "after": _state(head, outputs, labels, fitting.calibrate)}
    return fitted


def fit_temperature(name: str, head: DecidingHead, outputs: Tensor, labels: Tensor, console: Console) -> None:
    """Set the temperature of a head to the best one.

    Args:
        name: name of the task.
        head: the head.
        outputs: outputs of the head, all finite.
        labels: the true labels.
        console: prints a note if the best temperature is outside the bounds; then the head keeps its temperature.
    """
    temperature = best_temperature(*head.likelihood_data(outputs, labels))
    if temperature is None:
        console.info(
            f"task {name}: the temperature was not fitted: the optimum lies outside {1 / HOTTEST:g} to "
            f"{HOTTEST:g}. This happens if every dev row is predicted correctly, or if predictions are no "
            f"better than chance. The temperature stays at {head.decision.temperature:.3f}."
        )
    else:
        head.decision = head.decision.model_copy(update={"temperature": temperature})


def fit_thresholds(head: DecidingHead, outputs: Tensor, labels: Tensor, criterion: Criterion) -> None:
    """Set the thresholds of a head to the best ones. A label that all rows or no rows have keeps its threshold.

    Args:
        head: a head with thresholds.
        outputs: outputs of the head, all finite.
        labels: the true labels.
        criterion: the score that each threshold maximises.
    """
    data = head.threshold_data(outputs, labels)
    cuts = {label: best_cut(scores, truth, criterion, head.averages_f1) for label, (scores, truth) in data.items()}
    head.decision = head.with_cuts(cuts, criterion)


def _check_can_fit(file: str, task: str, head: DecidingHead, outputs: Tensor, labels: Tensor) -> None:
    """Check that a task's examples have different labels and finite outputs; errors are those of `tune`."""
    label = head.common_label(labels)
    if label is not None:
        raise DataError(
            f"{file}: all rows of task {task} have {label}, but a fit needs different labels; choose other "
            "tasks with -t."
        )
    if not bool(outputs.isfinite().all()):
        raise NotFiniteError(f"{file}: not all outputs of task {task} are finite; nothing is fitted.")


def reset_decisions(model: SentenceModel, tasks: Sequence[str]) -> None:
    """Reset thresholds to 0.5 and temperatures to 1.

    Args:
        model: the model.
        tasks: the tasks to reset; all if empty.
    """
    for _, head in _deciding_heads(model, tasks):
        head.decision = type(head.decision)()


def threshold_hint(metrics: Mapping[str, Any], run: Path) -> str | None:
    """Return a hint to fit thresholds, if precision and recall of the second of two classes are far apart.

    Tasks with a fitted threshold get no hint.

    Args:
        metrics: the metrics of an evaluation.
        run: the run that was evaluated.
    """
    hints = []
    for task, values in metrics["tasks"].items():
        decision = values.get("decision", {})
        # With several labels a row, a decision has no single threshold.
        if "threshold" in decision and len(values["labels"]) == 2 and decision["criterion"] is None:
            label = values["labels"][1]
            precision, recall = (values["per_class"][label][name] for name in ("precision", "recall"))
            if abs(precision - recall) > _LARGE_DIFFERENCE:
                hints.append(
                    f"task {task}, label {label}: precision and recall are far apart ({precision:.3f}, {recall:.3f})"
                )
    if not hints:
        return None
    command = command_line("evaluate", run, "--tune-thresholds", "f1")
    return f"{'; '.join(hints)}; to balance them: {command}."


def _deciding_heads(model: SentenceModel, tasks: Sequence[str]) -> Iterator[tuple[str, DecidingHead]]:
    """Yield the heads with a decision of some tasks, or of all tasks if there are none."""
    for name in tasks or model.task_names:
        head = model.head(name)
        if isinstance(head, DecidingHead):
            yield name, head


def _state(head: DecidingHead, outputs: Tensor, labels: Tensor, calibrated: bool) -> dict[str, float]:
    """Return the fitted values of a head, and the metrics that depend on them."""
    metrics = head.metrics(outputs, labels)
    state: dict[str, float] = {}
    if head.has_thresholds:
        # With several labels a row, each has its own threshold.
        state = {"threshold": head.decision.threshold} if isinstance(head.decision, Decision) else {}
        state |= {name: metrics[name] for name in head.threshold_metrics}
    if calibrated:
        temperature = head.decision.temperature
        nll = negative_log_likelihood(*head.likelihood_data(outputs, labels), temperature)
        error = {"ece": metrics["ece"]} if "ece" in metrics else {}
        state |= {"temperature": temperature, **error, "nll": nll}
    return state
