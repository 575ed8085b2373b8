"""Which scores of a column are the best: one, or all that chance could have put in its place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

MEANING = (
    "Marked: the best score of a column and those within one standard error of it, by the number of dev rows; "
    "none where that is all of them."
)
"""What the mark means, for readers."""
MEANING_OF_MEANS = MEANING.replace("number of dev rows", "number of dev rows and the spread over seeds")
_DIGITS = 3  # of a score that is shown


@dataclass(frozen=True)
class Estimate:
    """A score, and how far chance may have moved it.

    Args:
        value: the score.
        error: its standard error; None where it is not known.
    """

    value: float
    error: float | None = None


def of_rows(metric: str, value: float, rows: int | None) -> Estimate:
    """Return the estimate of a metric on a number of rows.

    Accuracy p: sqrt(p (1 - p) / n), of a binomial share. Correlation r: (1 - r^2) / sqrt(n - 3), from Fisher's z, whose
    standard error is 1 / sqrt(n - 3) (Fisher 1921), by dr/dz = 1 - r^2. Other metrics: not known.

    Scores of runs on the same rows differ by less than these errors say, for their errors are correlated: the rule
    calls too many scores equal rather than too few.
    """
    if rows is None or metric not in ("accuracy", "pearson", "spearman"):
        return Estimate(value)
    if metric == "accuracy":
        return Estimate(value, math.sqrt(max(value * (1 - value), 0) / rows))
    return Estimate(value, (1 - value**2) / math.sqrt(rows - 3) if rows > 3 else None)


def of_tasks(overall: float, tasks: Mapping[tuple[str, str], Estimate]) -> Estimate:
    """Return the estimate of the overall score, the mean over tasks with correlations r as (r + 1) / 2.

    Args:
        overall: the score.
        tasks: the estimates of all tasks and their metrics.
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
    """Return the estimate of the mean over k seeds on the same rows.

    The rows are drawn once, so their part is that of one seed; the part of the seeds is their variance over k.
    """
    value = fmean(each.value for each in seeds)
    errors = [each.error for each in seeds if each.error is not None]
    if len(errors) < len(seeds):
        return Estimate(value)
    of_seeds = variance([each.value for each in seeds]) / len(seeds) if len(seeds) > 1 else 0.0
    return Estimate(value, math.sqrt(fmean(error**2 for error in errors) + of_seeds))


def best(column: Sequence[Estimate | None]) -> list[bool]:
    """Return which scores of a column are marked: the best and those within one standard error of it.

    The rule is that of Breiman et al. 1984, section 3.4.3. Where it holds for all scores, none is marked. Scores are
    compared as they are shown.

    Args:
        column: scores of which higher is better; None where there is none.
    """
    known = [each for each in column if each is not None]
    if len(known) < 2:
        return [False] * len(column)
    top = max(known, key=lambda each: each.value)
    least = round(top.value - (top.error or 0.0), _DIGITS)
    near = [each is not None and round(each.value, _DIGITS) >= least for each in column]
    return near if sum(near) < len(known) else [False] * len(column)
