"""Two runs, compared on the same rows: what `mbert compare` shows.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mbert_cli.errors import UsageError, command_line
from mbert_cli.messages import nearest
from mbert_cli.metrics import SCALAR_METRICS, overall, task_score
from mbert_cli.reports.bootstrap import RESAMPLES, Interval, data_key, interval_of, p_value, resample
from mbert_cli.reports.differing_rows import DifferingRow, differing_rows, rows_with_texts
from mbert_cli.reports.row_scores import RIGHT_OR_WRONG
from mbert_cli.reports.run_predictions import RunPredictions
from mbert_cli.reports.scored_rows import ScoredRows, read_rows

Test = Literal["McNemar", "bootstrap"]


@dataclass(frozen=True)
class MetricComparison:
    """A metric of two runs.

    Args:
        name: its name.
        a: its value for run A.
        b: its value for run B.
        interval: 95 % interval of b - a; None for a metric that is not computed from the predicted labels.
        p: p-value of the hypothesis that both runs are equally good; None without an interval.
        test: the test that the p-value is from.
    """

    name: str
    a: float
    b: float
    interval: Interval | None = None
    p: float | None = None
    test: Test | None = None

    @property
    def difference(self) -> float:
        """The value for run B minus that for run A."""
        return self.b - self.a

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        interval = None if self.interval is None else list(self.interval)
        return {"a": self.a, "b": self.b, "difference": self.difference, "interval": interval, "p": self.p} | {
            "test": self.test
        }


@dataclass(frozen=True)
class Agreement:
    """How many rows each run predicts correctly.

    Args:
        both: rows that both predict correctly.
        only_a: rows that only run A predicts correctly.
        only_b: rows that only run B predicts correctly.
        neither: rows that neither predicts correctly.
    """

    both: int
    only_a: int
    only_b: int
    neither: int


@dataclass(frozen=True)
class TaskComparison:
    """A task of two runs.

    Args:
        name: the task's name.
        data: name of the data.
        file: the data file of run A.
        rows: number of rows.
        metrics: the metrics that both runs have, the main metric first.
        agreement: numbers of correct rows; None if labels are numbers.
        differing: the rows whose predictions differ, the most important first.
        are_numbers: whether labels are numbers.
    """

    name: str
    data: str
    file: str
    rows: int
    metrics: Sequence[MetricComparison]
    agreement: Agreement | None
    differing: Sequence[DifferingRow]
    are_numbers: bool


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Args:
        a: run A.
        b: run B.
        tasks: their common tasks.
        overall: their scores over these tasks; None for one task, or if a main metric differs.
        notes: what the user must know.
    """

    a: Path
    b: Path
    tasks: Sequence[TaskComparison]
    overall: MetricComparison | None
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        tasks = {
            task.name: {
                "data": task.data,
                "file": task.file,
                "rows": task.rows,
                "metrics": {metric.name: metric.as_json() for metric in task.metrics},
                "correct": None if task.agreement is None else asdict(task.agreement),
                "differing_rows": len(task.differing),
            }
            for task in self.tasks
        }
        total = None if self.overall is None else self.overall.as_json()
        return {"a": str(self.a), "b": str(self.b), "resamples": RESAMPLES, "tasks": tasks, "overall": total}


def compare(a: RunPredictions, b: RunPredictions, tasks: Sequence[str] = ()) -> Comparison:
    """Compare the predictions of two runs.

    Args:
        a: run A.
        b: run B.
        tasks: the tasks to compare; all common ones if empty.

    Raises:
        UsageError: a run has no such task, the runs have no common task, or they were scored on different rows.
        CheckpointError: predictions cannot be read.
    """
    names = list(tasks) or [name for name in a.tasks if name in b.tasks]
    for run in (a, b):
        for name in names:
            if name not in run.tasks:
                raise UsageError(f"{run.path}: has no task {name}{nearest(name, list(run.tasks))}")
    if not names:
        have = "; ".join(f"{run.path} has {', '.join(run.tasks)}" for run in (a, b))
        raise UsageError(f"the runs have no task in common: {have}.")
    compared, differences = [], []
    for name in names:
        task, resamples = _compare_task(name, a, b)
        compared.append(task)
        differences.append(resamples)
    notes = ["A and B are the same run, so all differences are 0."] if a.path.resolve() == b.path.resolve() else []
    for one, other in ((a, b), (b, a)):
        alone = [name for name in one.tasks if name not in other.tasks]
        if alone and not tasks:
            notes.append(f"{other.path} has no task {', '.join(alone)}; it is not compared.")
    return Comparison(a.path, b.path, compared, _overall(compared, differences), notes)


def _compare_task(name: str, a: RunPredictions, b: RunPredictions) -> tuple[TaskComparison, Mapping[str, np.ndarray]]:
    """Return the comparison of a task, and the differences of its metrics on resamples of its rows."""
    own, other = a.tasks[name], b.tasks[name]
    _check_files(name, a, b)
    rows_a, rows_b = (read_rows(each.folder, name, each.metrics) for each in (own, other))
    if (rows_a.right is None) != (rows_b.right is None):
        raise UsageError(f"task {name}: has classes in one run and numbers in the other; compare other tasks with -t.")
    _check_rows(name, a, b, rows_a, rows_b)
    common = [key for key in SCALAR_METRICS if all(isinstance(each.metrics.get(key), float) for each in (own, other))]
    if rows_a.positive != rows_b.positive:  # one of them averages over the classes
        common = [key for key in common if key not in ("precision", "recall", "f1")]
    common.sort(key=lambda key: key != own.metrics["main_metric"])
    scored = {
        key: lambda rows, key=key: rows_b.scores[key](rows) - rows_a.scores[key](rows)
        for key in common
        if key in rows_a.scores
    }
    differences = resample(scored, len(rows_a), data_key(own.metrics, name), rows_a.width)
    agreement = None if rows_a.right is None or rows_b.right is None else _agreement(rows_a.right, rows_b.right)
    metrics = [_metric(key, own.metrics, other.metrics, differences.get(key), agreement) for key in common]
    comparison = TaskComparison(
        name=name,
        data=own.data,
        file=str(own.metrics["file"]),
        rows=len(rows_a),
        metrics=metrics,
        agreement=agreement,
        differing=rows_with_texts(differing_rows(rows_a, rows_b), str(own.metrics["file"]), own.section),
        are_numbers=rows_a.right is None,
    )
    return comparison, differences


def _metric(
    name: str,
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    differences: np.ndarray | None,
    agreement: Agreement | None,
) -> MetricComparison:
    if differences is None:
        return MetricComparison(name, a[name], b[name])
    if agreement is not None and name in RIGHT_OR_WRONG:
        p = mcnemar(agreement.only_a, agreement.only_b)
        return MetricComparison(name, a[name], b[name], interval_of(differences), p, "McNemar")
    return MetricComparison(name, a[name], b[name], interval_of(differences), p_value(differences), "bootstrap")


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    If both runs are equally good, each row that only one of them predicts correctly is equally likely to be that of
    either: only_a has the binomial distribution of n = only_a + only_b trials with probability 1/2. Source: McNemar
    1947, "Note on the sampling error of the difference between correlated proportions".

    Args:
        only_a: number of rows that only run A predicts correctly.
        only_b: number of rows that only run B predicts correctly.
    """
    from scipy.stats import binomtest  # here, because the import is slow

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def _agreement(a: np.ndarray, b: np.ndarray) -> Agreement:
    return Agreement(*(int(np.count_nonzero(each)) for each in (a & b, a & ~b, ~a & b, ~(a | b))))


def _overall(
    tasks: Sequence[TaskComparison], differences: Sequence[Mapping[str, np.ndarray]]
) -> MetricComparison | None:
    """Return the comparison of the scores over all tasks."""
    main = [task.metrics[0] for task in tasks]
    if len(tasks) < 2 or any(metric.interval is None for metric in main):
        return None
    a, b = (
        overall({task.name: (metric.name, value) for task, metric, value in zip(tasks, main, values, strict=True)})
        for values in ([metric.a for metric in main], [metric.b for metric in main])
    )
    # A correlation r counts as (r + 1) / 2, so its difference counts half.
    slopes = [task_score(metric.name, 1.0) - task_score(metric.name, 0.0) for metric in main]
    total = np.mean(
        [slope * own[metric.name] for slope, own, metric in zip(slopes, differences, main, strict=True)], axis=0
    )
    return MetricComparison("overall", a, b, interval_of(total), p_value(total), "bootstrap")


def _check_files(name: str, a: RunPredictions, b: RunPredictions) -> None:
    """Check that both runs were scored on the same file.

    Raises:
        UsageError: they were not.
    """
    own, other = (run.tasks[name].metrics for run in (a, b))
    hashes = [each["sha256"] for each in (own, other) if each.get("sha256")]
    if len({*hashes}) > 1:
        raise UsageError(
            f"task {name}: the runs were scored on different files: {own['file']} and {other['file']} "
            f"(sha256 {hashes[0][:12]}… and {hashes[1][:12]}…); {_remedy(name, a, b)}"
        )


def _check_rows(name: str, a: RunPredictions, b: RunPredictions, rows_a: ScoredRows, rows_b: ScoredRows) -> None:
    """Check that both runs were scored on the same rows, with the same labels.

    Raises:
        UsageError: they were not.
    """
    if rows_a.lines != rows_b.lines:
        counts = f"{len(rows_a):,} and {len(rows_b):,}"
        raise UsageError(
            f"task {name}: the runs were scored on different rows ({counts}), for example with another --limit; "
            f"{_remedy(name, a, b)}"
        )
    for line, own, other in zip(rows_a.lines, rows_a.labels, rows_b.labels, strict=True):
        if own != other:
            raise UsageError(
                f"task {name}: the label of line {line} is '{own}' in {a.path}, but '{other}' in {b.path}: the dev "
                f"file has changed, or the heads name the classes differently; {_remedy(name, a, b)}"
            )


def _remedy(name: str, a: RunPredictions, b: RunPredictions) -> str:
    return f"score both on one file: {command_line('compare', a.path, b.path)} --data {name}=FILE."
