"""The result of a cross-validation: the scores of the folds, their mean, and the scores of all folds together.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mbert_cli.metrics import SCALAR_METRICS, overall
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.sweeps.out_of_fold import pooled_scores, write_out_of_fold
from mbert_cli.sweeps.results import SweepResult

OVERALL = ("", "overall")
"""The name of the score over all tasks, in place of a task and a metric."""


@dataclass(frozen=True)
class FoldScore:
    """A score of the folds.

    Args:
        folds: the score of each fold that is done, in order; at least one.
        pooled: the score over the predictions of all folds together; None if a fold is not done, or if the score is
            not computed from predictions.
        is_main: whether it is the main metric of a task, or the score over all tasks.
    """

    folds: tuple[float, ...]
    pooled: float | None = None
    is_main: bool = False

    @property
    def mean(self) -> float:
        """The mean over the folds."""
        return fmean(self.folds)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the folds, with n - 1 in the denominator; None for one fold."""
        return stdev(self.folds) if len(self.folds) > 1 else None

    def as_json(self) -> dict[str, Any]:
        """Return the score as JSON."""
        return {"mean": self.mean, "deviation": self.deviation, "pooled": self.pooled, "folds": list(self.folds)}


@dataclass(frozen=True)
class CrossValidation:
    """The result of a cross-validation.

    Args:
        sweep: the results of its runs; each row is a fold.
        scores: the scores, by the names of the task and of the metric.
        facts: for each task the numbers of rows, and what is known about leakage; see `training/fold_facts.py`.
        files: the file of out-of-fold predictions of each task; empty until all folds are done.
    """

    sweep: SweepResult
    scores: Mapping[tuple[str, str], FoldScore]
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """What the user must know about the folds, one sentence each."""
        return [warning for facts in self.facts.values() for warning in facts["warnings"]]

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        tasks: dict[str, Any] = {}
        for (task, metric), score in self.scores.items():
            if not task:
                continue
            own = tasks.setdefault(task, {"main_metric": None, "scores": {}})
            own["scores"][metric] = score.as_json()
            own["main_metric"] = metric if score.is_main else own["main_metric"]
        for name, own in tasks.items():
            own |= {**self.facts.get(name, {}), "predictions": str(self.files[name]) if name in self.files else None}
        total = self.scores.get(OVERALL)
        return {
            "title": self.sweep.title,
            "folds": [row["runs"][0] for row in self.sweep.as_json()["rows"]],
            "tasks": tasks,
            "overall": None if total is None else total.as_json(),
        }


def result_of(sweep: SweepResult, facts: Mapping[str, Mapping[str, Any]], folder: Path) -> CrossValidation:
    """Return the result of the folds that are done. Once all are done, write the out-of-fold predictions.

    Args:
        sweep: the results of the runs.
        facts: see `CrossValidation`.
        folder: the folder of the cross-validation.

    Raises:
        MbertError: predictions are missing, the training file cannot be read, or the disk is full.
    """
    kept = [report.kept for row in sweep.rows for report in row.reports]
    if not kept:
        return CrossValidation(sweep, {}, facts)
    files: dict[str, Path] = {}
    pooled: dict[tuple[str, str], float] = {}
    if not list(sweep.unfinished):
        runs: Mapping[str, RunFolder] = {str(number): row.runs[0].folder for number, row in enumerate(sweep.rows, 1)}
        for name, task in sweep.rows[0].row.recipe.tasks.items():
            files[name] = write_out_of_fold(folder, name, task, runs)
            own = pooled_scores(folder, name, kept[0].tasks[name])
            pooled |= {(name, metric): value for metric, value in own.items()}
        main = {name: metrics["main_metric"] for name, metrics in kept[0].tasks.items()}
        pooled[OVERALL] = overall({name: (metric, pooled[name, metric]) for name, metric in main.items()})
    scores = {}
    for name, metrics in kept[0].tasks.items():
        for metric in SCALAR_METRICS:
            if metric in metrics:
                values = _values([record.tasks[name][metric] for record in kept])
                scores[name, metric] = FoldScore(values, pooled.get((name, metric)), metric == metrics["main_metric"])
    scores[OVERALL] = FoldScore(_values([record.overall for record in kept]), pooled.get(OVERALL), True)
    return CrossValidation(sweep, scores, facts, files)


def _values(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
