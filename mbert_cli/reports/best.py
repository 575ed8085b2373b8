"""Which scores of a column are marked as the best: the highest, and those that may be lower only by chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

MEANING = (
    "Marked: the best score in each column and every score within one standard error of it (estimated from the number "
    "of dev rows). If that would mark the whole column, nothing is marked."
)
"""The meaning of the mark, as reports print it."""
MEANING_OF_MEANS = MEANING.replace("number of dev rows", "number of dev rows and the spread over seeds")
_DIGITS = 3  # decimals of a printed score


@dataclass(frozen=True)
class Estimate:
    """A score and its standard error.

    Args:
        value: the score.
        error: its standard error; None if unknown.
    """

    value: float
    error: float | None = None


def of_rows(metric: str, value: float, rows: int | None) -> Estimate:
    """Return a score with its standard error on n rows.

    Accuracy p: sqrt(p (1 - p) / n), the error of a binomial proportion. Correlation r: (1 - r^2) / sqrt(n - 3). It
    follows from the error 1 / sqrt(n - 3) of Fisher's z (Fisher 1921) and dr/dz = 1 - r^2. For other metrics, the error
    is unknown.

    The scores of two runs on the same rows are correlated, so their difference has a smaller error than this. Therefore
    the rule marks too many scores rather than too few.

    Args:
        metric: name of the metric.
        value: the score.
        rows: n; None if unknown.
    """
    if rows is None or metric not in ("accuracy", "pearson", "spearman"):
        return Estimate(value)
    if metric == "accuracy":
        return Estimate(value, math.sqrt(max(value * (1 - value), 0) / rows))
    return Estimate(value, (1 - value**2) / math.sqrt(rows - 3) if rows > 3 else None)


def of_tasks(overall: float, tasks: Mapping[tuple[str, str], Estimate]) -> Estimate:
    """Return the overall score with its standard error.

    The overall score is the mean over the tasks; a correlation r counts as (r + 1) / 2.

    Args:
        overall: the overall score.
        tasks: the estimate of each task, by the names of the task and of its metric.
    """
    errors = [
        None if each.error is None else each.error / (2 if metric in ("pearson", "spearman") else 1)
        for (_, metric), each in tasks.items()
    ]
    known = [error for error in errors if error is not None]
    if not known or len(known) < len(errors):
        return Estimate(overall)
    return Estimate(overall, math.hypot(*known) / len(known))


def of_seeds(seeds: Sequence[Estimate]) -> Estimate:
    """Return the mean over k seeds with its standard error.

    All seeds are scored on the same rows. So the error from the rows is as large as that of one seed, and only the
    variance between the seeds is divided by k.
    """
    value = fmean(each.value for each in seeds)
    errors = [each.error for each in seeds if each.error is not None]
    if len(errors) < len(seeds):
        return Estimate(value)
    between_seeds = variance([each.value for each in seeds]) / len(seeds) if len(seeds) > 1 else 0.0
    return Estimate(value, math.sqrt(fmean(error**2 for error in errors) + between_seeds))


def best(column: Sequence[Estimate | None]) -> list[bool]:
    """Return for each score of a column whether it is marked: the best, and those within one standard error of it.

    Source: the one-standard-error rule of Breiman et al. 1984, section 3.4.3. If all scores would be marked, none is.
    Scores are compared as they are printed.

    Args:
        column: the scores, higher is better; None for a missing score.
    """
    known = [each for each in column if each is not None]
    if len(known) < 2:
        return [False] * len(column)
    top = max(known, key=lambda each: each.value)
    least = round(top.value - (top.error or 0.0), _DIGITS)
    near = [each is not None and round(each.value, _DIGITS) >= least for each in column]
    return near if sum(near) < len(known) else [False] * len(column)
