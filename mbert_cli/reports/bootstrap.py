"""Intervals of metrics by the bootstrap: the rows of a dev file are drawn again, with replacement, many times.

Percentile intervals. Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13. With more than
`MOST_ROWS` rows, a resample has only that many rows, and its distance from the score of all rows is multiplied by
sqrt(rows of the resample / all rows): the standard error of these metrics is proportional to 1 / sqrt(rows). Source:
Bickel, Götze & van Zwet 1997, "Resampling fewer than n observations". So the time does not grow with the file.

Must not import torch: fast start-up.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mbert_cli.randomness import derive
from mbert_cli.reports.row_scores import RowScore

RESAMPLES = 2_000
MOST_ROWS = 10_000
LEVEL = 0.95
METHOD = (
    f"95 % intervals: percentile bootstrap of the rows, {RESAMPLES:,} resamples of at most {MOST_ROWS:,} rows, seed 0. "
    "They show the chance in the choice of rows, not the chance in training, which several seeds show."
)
"""How reports describe the intervals."""

INTERVAL = "95 % interval"
"""The heading of intervals."""

Interval = tuple[float, float]
"""Lower and upper end."""


_SEED = 0
_MOST_CELLS = 1_000_000
_FEWEST_ROWS = 1_000
_ROUNDING = 1e-12  # a smaller difference of two metrics counts as none


def rows_per_resample(rows: int, width: int = 1) -> int:
    """Return the number of rows of a resample.

    Args:
        rows: number of all rows.
        width: number of values of a row. With many labels, a resample has fewer rows.
    """
    return min(rows, MOST_ROWS, max(_FEWEST_ROWS, _MOST_CELLS // width))


def resample(scores: Mapping[str, RowScore], rows: int, key: str, width: int = 1) -> dict[str, np.ndarray]:
    """Return the values of metrics on resamples of the rows. All metrics are computed on the same resamples.

    Args:
        scores: the metrics.
        rows: number of rows.
        key: names the data. Tasks with the same key and number of rows draw the same rows.
        width: see `rows_per_resample`.

    Returns:
        For each metric, `RESAMPLES` values.
    """
    size = rows_per_resample(rows, width)
    generator = np.random.default_rng(derive(_SEED, "bootstrap", rows, key))
    values = np.empty((RESAMPLES, len(scores)))
    for each in values:
        chosen = generator.integers(rows, size=size)
        each[:] = [score(chosen) for score in scores.values()]
    if size < rows:
        whole = np.array([score(np.arange(rows)) for score in scores.values()])
        values = whole + (values - whole) * math.sqrt(size / rows)
    return dict(zip(scores, values.T, strict=True))


def interval_of(values: np.ndarray) -> Interval:
    """Return the 95 % interval of a metric from its values on resamples."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def interval_text(interval: Interval | None, sign: str = "") -> str:
    """Return an interval such as `0.471 to 0.529`; nothing for None.

    Args:
        interval: the interval.
        sign: `+` to write the sign of positive numbers.
    """
    return "" if interval is None else f"{interval[0]:{sign}.3f} to {interval[1]:{sign}.3f}"


def p_value(differences: np.ndarray) -> float:
    """Return the two-sided p-value of the difference of a metric between two runs, from its values on R resamples.

    p = min(1, 2 (1 + min(n-, n+)) / (R + 1)), where n- values are not above 0 and n+ are not below 0. So p is the
    smallest error rate whose percentile interval does not contain 0. It is at least 2 / (R + 1). Source: Davison &
    Hinkley 1997, "Bootstrap Methods and their Application", section 4.2; adding 1 avoids a p of 0.
    """
    not_above, not_below = (np.count_nonzero(each <= _ROUNDING) for each in (differences, -differences))
    return min(1.0, 2 * (1 + min(not_above, not_below)) / (len(differences) + 1))


def data_key(metrics: Mapping[str, Any], task: str) -> str:
    """Return the key of a task's data for `resample`: the hash of the file if it is known, otherwise the task's name.

    Args:
        metrics: the task's metrics in the folder of an evaluation.
        task: the task's name.
    """
    return str(metrics.get("sha256") or task)
