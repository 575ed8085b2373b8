"""One procedure: tune; how heads decide is fitted to the dev files, no weight changes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mbert_cli.calibration import HOTTEST, Criterion, Decision, best_cut, best_temperature, negative_log_likelihood
from mbert_cli.errors import DataError, NotFiniteError, UsageError, command_line
from mbert_cli.evaluation.evaluate import RunOutcomes
from mbert_cli.heads import ClassHead, as_classes
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.terminal.console import Console

# From which difference of precision and recall on they are said to lie far apart.
_FAR = 0.1


def check_fits(predictor: Predictor, tasks: Sequence[str], criterion: Criterion | None, calibrate: bool) -> None:
    """Check, before anything is computed, that there is something to fit.

    Args:
        predictor: of the model.
        tasks: the tasks asked for; all by default.
        criterion: what thresholds are fitted for; None does not.
        calibrate: whether temperatures are fitted.

    Raises:
        CheckpointError: there is no such task.
        UsageError: no task has two classes for a threshold to part, or classes at all for a temperature.
    """
    for name in tasks:
        predictor.saved.task(name)
    names = ", ".join(tasks or predictor.tasks)
    heads = [head for _, head in _class_heads(predictor, tasks or predictor.tasks)]
    if criterion is not None and not any(len(head.labels) == 2 for head in heads):
        raise UsageError(f"--tune-thresholds: a threshold parts two classes, and no task here has two ({names}).")
    if calibrate and not heads:
        raise UsageError(
            f"--calibrate: a temperature is for probabilities of classes, and no task here has any ({names})."
        )


def tune(outcomes: RunOutcomes, criterion: Criterion | None, calibrate: bool, console: Console) -> dict[str, Any]:
    """Fit temperatures, then thresholds, and have the model's heads decide by them.

    Args:
        outcomes: of the model on its dev files.
        criterion: what the thresholds of tasks of two classes are fitted for, see `decisions`; None leaves them.
        calibrate: fit a temperature to every task of classes.
        console: where a temperature that cannot be fitted is reported.

    Returns:
        For each task that something was fitted to, `before` and `after`: threshold, precision, recall, F1 and accuracy
        of two classes; temperature, expected calibration error and mean negative log-likelihood where calibrated.

    Raises:
        DataError: a file holds one class only, which anything would fit.
        NotFiniteError: the model gives outputs that are not.
    """
    found: dict[str, Any] = {}
    for name, head in _class_heads(outcomes.predictor, list(outcomes.tasks)):
        tunes = criterion is not None and len(head.labels) == 2
        if not (tunes or calibrate):
            continue
        outputs, labels = outcomes.tasks[name].outputs, outcomes.tasks[name].labels
        classes = np.unique(as_classes(labels))
        if len(classes) < 2:
            only = head.labels.names[classes[0]]
            raise DataError(
                f"{outcomes.files[name]}: all rows of task {name} are labelled '{only}'; nothing "
                "can be fitted to one class, choose other tasks with -t."
            )
        if not bool(outputs.isfinite().all()):
            raise NotFiniteError(
                f"{outcomes.files[name]}: not all outputs of task {name} are finite; nothing is fitted."
            )
        before = _state(head, outputs, labels, calibrate)
        changed: dict[str, Any] = {}
        if calibrate:
            temperature = best_temperature(head.logits(outputs).cpu().numpy(), as_classes(labels))
            if temperature is None:
                console.info(
                    f"task {name}: no temperature from {1 / HOTTEST:g} to {HOTTEST:g} fits best, as where all dev rows "
                    f"are predicted rightly, or by chance; it stays {head.decision.temperature:.3f}."
                )
            else:
                changed["temperature"] = temperature
        if tunes:
            macro = head.positive is None
            cut = best_cut(head.log_odds(outputs).cpu().numpy(), as_classes(labels), str(criterion), macro)
            changed |= {"cut": cut, "criterion": criterion}
        head.decision = head.decision.model_copy(update=changed)
        found[name] = {"before": before, "after": _state(head, outputs, labels, calibrate)}
    return found


def reset_decisions(predictor: Predictor, tasks: Sequence[str]) -> None:
    """Have a model's heads decide as they were trained to.

    Args:
        predictor: of the model.
        tasks: whose heads; all by default.
    """
    for _, head in _class_heads(predictor, tasks or predictor.tasks):
        head.decision = Decision()


def threshold_hint(found: Mapping[str, Any], run: Path) -> str | None:
    """Return a hint at thresholds, where precision and recall of the second of two classes lie far apart.

    Whose threshold was fitted is not hinted at again.

    Args:
        found: the metrics of an evaluation.
        run: what was evaluated.
    """
    hints = []
    for task, metrics in found["tasks"].items():
        if len(metrics.get("labels", ())) == 2 and metrics["decision"]["criterion"] is None:
            label = metrics["labels"][1]
            precision, recall = (metrics["per_class"][label][name] for name in ("precision", "recall"))
            if abs(precision - recall) > _FAR:
                hints.append(
                    f"task {task}, label {label}: precision and recall differ much ({precision:.3f}, {recall:.3f})"
                )
    if not hints:
        return None
    command = command_line("evaluate", run, "--tune-thresholds", "f1")
    return f"{'; '.join(hints)}; to balance them: {command}."


def _class_heads(predictor: Predictor, tasks: Sequence[str]) -> Iterator[tuple[str, ClassHead]]:
    for name in tasks:
        head = predictor.saved.model.head(name)
        if isinstance(head, ClassHead):
            yield name, head


def _state(head: ClassHead, outputs: Tensor, labels: Tensor, calibrated: bool) -> dict[str, float]:
    metrics = head.metrics(outputs, labels)
    found: dict[str, float] = {}
    if len(head.labels) == 2:
        found = {"threshold": head.decision.threshold}
        found |= {name: metrics[name] for name in ("precision", "recall", "f1", "accuracy")}
    if calibrated:
        temperature = head.decision.temperature
        nll = negative_log_likelihood(head.logits(outputs).cpu().numpy(), as_classes(labels), temperature)
        found |= {"temperature": temperature, "ece": metrics["ece"], "nll": nll}
    return found
