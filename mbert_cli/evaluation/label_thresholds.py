"""Fit a threshold for each label of a task whose rows have several labels, and the task's temperature."""

from typing import Any

import numpy as np
from torch import Tensor

from mbert_cli.calibration import LabelDecision, best_temperature
from mbert_cli.evaluation.options import Fitting
from mbert_cli.evaluation.threshold_search import best_cut
from mbert_cli.heads.multi_label import MultiLabel


def fitted_decision(head: MultiLabel, outputs: Tensor, labels: Tensor, fitting: Fitting) -> LabelDecision:
    """Return the thresholds and the temperature that fit the dev rows best.

    Each label is a task with two classes: rows with it, and rows without it. A label that all rows or no rows have
    keeps its cut. The temperature is the same for all labels. It keeps its value if the best one is outside the bounds.

    Args:
        head: the head.
        outputs: outputs of the head, all finite.
        labels: the true sets.
        fitting: the requested fits.
    """
    logits, truth = outputs.double().cpu().numpy(), labels.long().cpu().numpy()
    changed: dict[str, Any] = {}
    if fitting.calibrate:
        pairs = np.stack([np.zeros(logits.size), logits.ravel()], axis=1)
        changed["temperature"] = best_temperature(pairs, truth.ravel()) or head.decision.temperature
    if fitting.criterion is not None:
        cuts = dict(head.decision.cuts)
        for k, name in enumerate(head.labels.names):
            if 0 < truth[:, k].sum() < len(truth):
                cuts[name] = best_cut(logits[:, k], truth[:, k], fitting.criterion, macro=False)
        changed |= {"cuts": cuts, "criterion": fitting.criterion}
    return head.decision.model_copy(update=changed)


def label_state(head: MultiLabel, outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the temperature of a head and the metrics that depend on its thresholds."""
    metrics = head.metrics(outputs, labels)
    names = ("micro_f1", "macro_f1", "exact_match")
    return {name: metrics[name] for name in names} | {"temperature": head.decision.temperature}
