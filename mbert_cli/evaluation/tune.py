"""Fit thresholds and temperatures to the dev files. Weights do not change."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mbert_cli.calibration import HOTTEST, best_temperature, negative_log_likelihood
from mbert_cli.errors import DataError, NotFiniteError, UsageError, command_line
from mbert_cli.evaluation.label_thresholds import fitted_decision, label_state
from mbert_cli.evaluation.options import Fitting
from mbert_cli.evaluation.run_outcomes import RunOutcomes
from mbert_cli.evaluation.threshold_search import best_cut
from mbert_cli.heads import ClassHead, as_classes
from mbert_cli.heads.multi_label import MultiLabel
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
    if fitting.criterion is not None and not any(map(_has_thresholds, heads)):
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
        micro F1, macro F1 and exact matches for several labels a row; temperature, expected calibration error and mean
        negative log-likelihood if temperatures are fitted.

    Raises:
        DataError: all rows of a file have the same class, so nothing can be fitted.
        NotFiniteError: outputs of the model are not finite.
    """
    fitted: dict[str, Any] = {}
    for name, head in _deciding_heads(outcomes.predictor.saved.model, list(outcomes.tasks)):
        if not ((fitting.criterion is not None and _has_thresholds(head)) or fitting.calibrate):
            continue
        outputs, labels = outcomes.tasks[name].outputs, outcomes.tasks[name].labels
        _check_can_fit(outcomes.files[name], name, head, outputs, labels)
        if isinstance(head, MultiLabel):
            before = label_state(head, outputs, labels)
            head.decision = fitted_decision(head, outputs, labels, fitting)
            fitted[name] = {"before": before, "after": label_state(head, outputs, labels)}
        else:
            fitted[name] = _fit_classes(name, head, outputs, labels, fitting, console)
    return fitted


def _fit_classes(
    name: str, head: ClassHead, outputs: Tensor, labels: Tensor, fitting: Fitting, console: Console
) -> dict[str, Any]:
    """Fit the temperature and the threshold of a task with classes; return its part of the result of `tune`."""
    before = _state(head, outputs, labels, fitting.calibrate)
    changed: dict[str, Any] = {}
    if fitting.calibrate:
        temperature = best_temperature(head.logits(outputs).cpu().numpy(), as_classes(labels))
        if temperature is None:
            console.info(
                f"task {name}: the temperature was not fitted: the optimum lies outside {1 / HOTTEST:g} to "
                f"{HOTTEST:g}. This happens if every dev row is predicted correctly, or if predictions are no "
                f"better than chance. The temperature stays at {head.decision.temperature:.3f}."
            )
        else:
            changed["temperature"] = temperature
    if fitting.criterion is not None and _has_thresholds(head):
        macro = head.positive is None
        cut = best_cut(head.log_odds(outputs).cpu().numpy(), as_classes(labels), str(fitting.criterion), macro)
        changed |= {"cut": cut, "criterion": fitting.criterion}
    head.decision = head.decision.model_copy(update=changed)
    return {"before": before, "after": _state(head, outputs, labels, fitting.calibrate)}


def _has_thresholds(head: ClassHead | MultiLabel) -> bool:
    """Whether thresholds decide: for two classes, or for each of several labels a row."""
    return isinstance(head, MultiLabel) or len(head.labels) == 2


def _check_can_fit(file: str, task: str, head: ClassHead | MultiLabel, outputs: Tensor, labels: Tensor) -> None:
    """Check that a task's examples have two classes and finite outputs; errors are those of `tune`."""
    classes = np.unique(as_classes(labels))
    if len(classes) < 2 and isinstance(head, ClassHead):
        label = head.labels.names[classes[0]]
        raise DataError(
            f"{file}: all rows of task {task} have the label '{label}', but a fit needs two classes; choose other "
            "tasks with -t."
        )
    if len(classes) < 2:
        labels_of = "all labels" if classes[0] else "no label"
        raise DataError(
            f"{file}: all rows of task {task} have {labels_of}, so nothing can be fitted; choose other tasks with -t."
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
        has_classes = "labels" in values and "delimiter" not in values
        if has_classes and len(values["labels"]) == 2 and values["decision"]["criterion"] is None:
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


def _deciding_heads(model: SentenceModel, tasks: Sequence[str]) -> Iterator[tuple[str, ClassHead | MultiLabel]]:
    """Yield the heads with a decision of some tasks, or of all tasks if there are none."""
    for name in tasks or model.task_names:
        head = model.head(name)
        if isinstance(head, ClassHead | MultiLabel):
            yield name, head


def _state(head: ClassHead, outputs: Tensor, labels: Tensor, calibrated: bool) -> dict[str, float]:
    """Return the fitted values of a head, and the metrics that depend on them."""
    metrics = head.metrics(outputs, labels)
    state: dict[str, float] = {}
    if len(head.labels) == 2:
        state = {"threshold": head.decision.threshold}
        state |= {name: metrics[name] for name in ("precision", "recall", "f1", "accuracy")}
    if calibrated:
        temperature = head.decision.temperature
        nll = negative_log_likelihood(head.logits(outputs).cpu().numpy(), as_classes(labels), temperature)
        state |= {"temperature": temperature, "ece": metrics["ece"], "nll": nll}
    return state
