"""The score that selects the best model."""

from collections.abc import Mapping
from typing import Any

from mbert_cli.metrics import LOWER_IS_BETTER


def selected(metrics: Mapping[str, Any], select: str) -> float:
    """Return the score that selects the best model; higher is better.

    Args:
        metrics: the metrics of an evaluation, as `evaluate` returns them.
        select: `overall`, or ``task.metric``. A metric of which lower values are better counts with a minus sign.
    """
    if select == "overall":
        return float(metrics["overall"])
    task, _, metric = select.partition(".")
    value = float(metrics["tasks"][task][metric])
    return -value if metric in LOWER_IS_BETTER else value
