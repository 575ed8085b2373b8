"""Runs as `mbert report` reads them: their recipes, their metrics and their predictions for the dev files.

Must not import torch: fast start-up.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import MbertError, UsageError, command_line
from mbert_cli.metrics import overall
from mbert_cli.recipe.ending import Reason
from mbert_cli.recipe.reader import load
from mbert_cli.recipe.sections import Recipe
from mbert_cli.reports.best import Estimate, best, of_rows, of_tasks
from mbert_cli.reports.score_intervals import NO_INTERVALS, ScoreIntervals, score_intervals
from mbert_cli.storage.metrics_file import METRICS_FILE, EpochRecord, ended_early, kept_epoch, read_metrics
from mbert_cli.storage.model_folder import fitted_tasks
from mbert_cli.storage.run_folder import RunFolder, run_below

TaskMetric = tuple[str, str]
"""The name of a task and of its main metric: the heading of a column."""


@dataclass(frozen=True)
class Scores:
    """One line of scores.

    Args:
        name: name of the run, of the reference, or `difference`.
        tasks: the main metric of each task.
        overall: the score over all tasks; None if a task is missing.
    """

    name: str
    tasks: Mapping[TaskMetric, float]
    overall: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        tasks = {task: {"metric": metric, "value": value} for (task, metric), value in self.tasks.items()}
        return {"tasks": tasks, "overall": self.overall}


@dataclass(frozen=True)
class RunReport:
    """A run with the scores of its kept epoch.

    Args:
        path: the run folder, as the user wrote it.
        recipe: the recipe of the run.
        epochs: number of finished epochs.
        kept: the epoch whose model is kept.
        train_seconds: training time of all finished epochs, without the scoring of dev files.
        fitted: the tasks whose threshold or temperature was fitted after training.
        intervals: 95 % intervals of the scores.
        ended: the limit that ended the run early; None if there was none, or if the run has not ended.
    """

    path: Path
    recipe: Recipe
    epochs: int
    kept: EpochRecord
    train_seconds: float
    fitted: Sequence[str] = ()
    intervals: ScoreIntervals = NO_INTERVALS
    ended: Reason | None = None

    @property
    def parameters(self) -> Mapping[str, int]:
        """Sizes of the `encoder`, the `adapters` and `all`."""
        return self.kept.parameters

    @property
    def times_encoder(self) -> float:
        """Parameters of encoder plus adapters, divided by those of the encoder; papers on adapters report this."""
        return 1 + self.parameters["adapters"] / self.parameters["encoder"]

    @property
    def hardware(self) -> str:
        """Device and precision of the kept epoch, such as `cuda, bf16`."""
        return ", ".join(self.kept.hardware[key] for key in ("device", "precision"))

    @property
    def note(self) -> str:
        """A note that the scores do not include what was fitted after training; empty if nothing was fitted."""
        if not self.fitted:
            return ""
        command = command_line("evaluate", self.path)
        return (
            f"{self.path}: scores are as trained; thresholds or temperatures of {', '.join(self.fitted)} were fitted "
            f"afterwards: {command} shows the scores with them."
        )

    @property
    def scores(self) -> Scores:
        """The scores of the run."""
        return Scores(str(self.path), self.kept.main_scores(), self.kept.overall)

    @property
    def estimates(self) -> Mapping[TaskMetric, Estimate]:
        """The run's scores of tasks, with their standard errors."""
        rows = {task: metrics.get("examples") for task, metrics in self.kept.tasks.items()}
        return {each: of_rows(each[1], value, rows[each[0]]) for each, value in self.scores.tasks.items()}

    @property
    def overall_estimate(self) -> Estimate | None:
        """The run's score over all tasks, with its standard error."""
        total = self.scores.overall
        return None if total is None else of_tasks(total, self.estimates)

    @property
    def reference(self) -> Scores | None:
        """The scores that the recipe compares with; None if it names none."""
        reference = self.recipe.reference
        if reference is None:
            return None
        tasks = {each: reference.scores[each[0]] for each in self.scores.tasks if each[0] in reference.scores}
        is_complete = len(tasks) == len(self.scores.tasks)
        total = overall({task: (metric, value) for (task, metric), value in tasks.items()}) if is_complete else None
        return Scores(reference.source, tasks, total)

    @property
    def difference(self) -> Scores | None:
        """The scores of the run minus those of the reference; None without a reference."""
        own, other = self.scores, self.reference
        if other is None:
            return None
        tasks = {each: own.tasks[each] - value for each, value in other.tasks.items()}
        total = None if own.overall is None or other.overall is None else own.overall - other.overall
        return Scores("difference", tasks, total)

    def as_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        recipe = self.recipe
        values: dict[str, Any] = {
            "run": str(self.path),
            "adapters": [each.spec() for each in recipe.adapters],
            "pooling": recipe.pooling.spec(),
            "loss_balancing": recipe.loss_balancing.spec(),
            "curriculum": recipe.curriculum.spec(),
            "epochs": {"ended": self.epochs, "planned": recipe.training.rounds, "kept": self.kept.epoch},
            "ended_early": self.ended,
            "parameters": {**self.parameters, "times_encoder": self.times_encoder},
            **self.scores.as_json(),
            "intervals": self.intervals.as_json(),
            "train_seconds": round(self.train_seconds, 3),
            "hardware": self.hardware,
            "reference": None,
        }
        if self.reference is not None and self.difference is not None:
            values["reference"] = {
                "source": self.reference.name,
                **self.reference.as_json(),
                "difference": self.difference.as_json(),
            }
        return values


def best_scores(runs: Sequence[RunReport], columns: Sequence[TaskMetric]) -> list[list[bool]]:
    """Return for each run whether each of its scores is marked as the best: one per column, then the overall score.

    Overall scores are only compared if all runs have the same tasks.
    """
    marks = [best([run.estimates.get(column) for run in runs]) for column in columns]
    same = len({frozenset(run.scores.tasks) for run in runs}) == 1
    marks.append(best([run.overall_estimate if same else None for run in runs]))
    return [list(own) for own in zip(*marks, strict=True)]


def read_runs(paths: Sequence[Path]) -> list[RunReport]:
    """Read runs, finished or still training.

    Raises:
        UsageError: a folder is not a run folder, no epoch of it is finished, or a file of it is damaged. The message
            lists all such folders.
    """
    runs: list[RunReport] = []
    problems: list[str] = []
    for path in paths:
        try:
            runs.append(_read_run(path))
        except MbertError as error:
            problems += error.problems
    if problems:
        raise UsageError(*problems)
    return runs


def _read_run(path: Path) -> RunReport:
    recipe_file = path / "recipe.yaml"
    if not os.path.isdir(path):
        raise UsageError(f"{path}: there is no such run folder; mbert train writes one with -o.")
    if not os.path.isfile(recipe_file):
        if os.path.isfile(path / "config.json"):
            raise UsageError(f"{path}: is a saved model, which has no history; name the run folder that it comes from.")
        if any(path.glob("*/recipe.yaml")):
            raise UsageError(f"{path}: is a folder of runs; name them: {shlex.quote(str(path))}/*.")
        raise UsageError(f"{path}: is not a run folder: it has no recipe.yaml{run_below(path)}")
    # The components' options were checked before training. Checking them again would import torch.
    recipe = load(recipe_file, [], lambda *_: [])
    lines = read_metrics(path / METRICS_FILE)
    kept = kept_epoch(lines)
    if kept is None:
        raise UsageError(
            f"{path}: no epoch of this run has been scored yet; wait for one, or continue training with --resume."
        )
    seconds = sum(line.seconds.train for line in lines)
    # Tasks that were added to a model are scored without its other tasks.
    fitted = [name for name in fitted_tasks(RunFolder(path)) if name in kept.tasks]
    intervals = score_intervals(path, kept)
    return RunReport(path, recipe, len(lines), kept, seconds, fitted, intervals, ended_early(lines))
