"""One procedure: report; runs read from their recipes and metrics alone, so that it answers at once. No torch here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import MbertError, UsageError, command_line
from mbert_cli.metrics import overall
from mbert_cli.recipe.reader import load
from mbert_cli.recipe.sections import Recipe
from mbert_cli.reports.best import Estimate, best, of_rows, of_tasks
from mbert_cli.storage.metrics_file import METRICS_FILE, EpochRecord, kept_epoch, read_metrics
from mbert_cli.storage.model_folder import fitted_tasks
from mbert_cli.storage.run_folder import RunFolder

TaskMetric = tuple[str, str]
"""A task and its main metric: the heading of a column."""


@dataclass(frozen=True)
class Scores:
    """One line of scores.

    Args:
        name: whose they are.
        tasks: each task's main metric.
        overall: over all tasks; None where a task is left out.
    """

    name: str
    tasks: Mapping[TaskMetric, float]
    overall: float | None

    def as_json(self) -> dict[str, Any]:
        """Return them as plain values."""
        tasks = {task: {"metric": metric, "value": value} for (task, metric), value in self.tasks.items()}
        return {"tasks": tasks, "overall": self.overall}


@dataclass(frozen=True)
class RunReport:
    """One run, as its best epoch left it.

    Args:
        path: the run folder, as the user named it.
        recipe: what it was made of.
        epochs: how many have ended.
        kept: the epoch whose model is kept.
        train_seconds: of all epochs that have ended, without the time on dev files.
        fitted: the tasks whose threshold or temperature was fitted after training.
    """

    path: Path
    recipe: Recipe
    epochs: int
    kept: EpochRecord
    train_seconds: float
    fitted: Sequence[str] = ()

    @property
    def parameters(self) -> Mapping[str, int]:
        """Sizes of the `encoder`, the `adapters` and `all`."""
        return self.kept.parameters

    @property
    def times_encoder(self) -> float:
        """The encoder with all adapters over the encoder alone, as papers on adapters give it."""
        return 1 + self.parameters["adapters"] / self.parameters["encoder"]

    @property
    def hardware(self) -> str:
        """Device and precision of its kept epoch: `cuda, bf16`."""
        return ", ".join(self.kept.hardware[key] for key in ("device", "precision"))

    @property
    def note(self) -> str:
        """What the scores do not show: thresholds that were fitted after training; empty where none was."""
        if not self.fitted:
            return ""
        command = command_line("evaluate", self.path)
        return (
            f"{self.path}: scores are as trained; thresholds or temperatures of {', '.join(self.fitted)} were fitted "
            f"afterwards: {command} shows the scores with them."
        )

    @property
    def scores(self) -> Scores:
        """The run's own."""
        return Scores(str(self.path), self.kept.main_scores(), self.kept.overall)

    @property
    def estimates(self) -> Mapping[TaskMetric, Estimate]:
        """The run's scores of tasks, with their standard errors."""
        rows = {task: found.get("examples") for task, found in self.kept.tasks.items()}
        return {each: of_rows(each[1], value, rows[each[0]]) for each, value in self.scores.tasks.items()}

    @property
    def overall_estimate(self) -> Estimate | None:
        """The run's score over all tasks, with its standard error."""
        total = self.scores.overall
        return None if total is None else of_tasks(total, self.estimates)

    @property
    def reference(self) -> Scores | None:
        """Those that the recipe compares with, if any."""
        reference = self.recipe.reference
        if reference is None:
            return None
        tasks = {each: reference.scores[each[0]] for each in self.scores.tasks if each[0] in reference.scores}
        whole = len(tasks) == len(self.scores.tasks)
        total = overall({task: (metric, value) for (task, metric), value in tasks.items()}) if whole else None
        return Scores(reference.source, tasks, total)

    @property
    def difference(self) -> Scores | None:
        """The run's less the reference's."""
        own, other = self.scores, self.reference
        if other is None:
            return None
        tasks = {each: own.tasks[each] - value for each, value in other.tasks.items()}
        total = None if own.overall is None or other.overall is None else own.overall - other.overall
        return Scores("difference", tasks, total)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        recipe = self.recipe
        found: dict[str, Any] = {
            "run": str(self.path),
            "adapters": [each.spec() for each in recipe.adapters],
            "pooling": recipe.pooling.spec(),
            "loss_balancing": recipe.loss_balancing.spec(),
            "curriculum": recipe.curriculum.spec(),
            "epochs": {"ended": self.epochs, "planned": recipe.training.rounds, "kept": self.kept.epoch},
            "parameters": {**self.parameters, "times_encoder": self.times_encoder},
            **self.scores.as_json(),
            "train_seconds": round(self.train_seconds, 3),
            "hardware": self.hardware,
            "reference": None,
        }
        if self.reference is not None and self.difference is not None:
            found["reference"] = {
                "source": self.reference.name,
                **self.reference.as_json(),
                "difference": self.difference.as_json(),
            }
        return found


def best_scores(runs: Sequence[RunReport], columns: Sequence[TaskMetric]) -> list[list[bool]]:
    """Return for each run which of its scores are marked as the best: those of the columns, and the overall score.

    Overall scores over different tasks are not compared.
    """
    marks = [best([run.estimates.get(column) for run in runs]) for column in columns]
    same = len({frozenset(run.scores.tasks) for run in runs}) == 1
    marks.append(best([run.overall_estimate if same else None for run in runs]))
    return [list(own) for own in zip(*marks, strict=True)]


def read_runs(paths: Sequence[Path]) -> list[RunReport]:
    """Read runs, finished or still training.

    Raises:
        UsageError: with the problems of all that are no run folders, or have no finished epoch yet.
    """
    found: list[RunReport] = []
    problems: list[str] = []
    for path in paths:
        try:
            found.append(_read_run(path))
        except MbertError as error:
            problems += error.problems
    if problems:
        raise UsageError(*problems)
    return found


def _read_run(path: Path) -> RunReport:
    recipe_file = path / "recipe.yaml"
    if not os.path.isdir(path):
        raise UsageError(f"{path}: there is no such run folder; mbert train writes one with -o.")
    if not os.path.isfile(recipe_file):
        if os.path.isfile(path / "config.json"):
            raise UsageError(f"{path}: is a saved model, which keeps no history; name the run folder it comes from.")
        raise UsageError(f"{path}: is no run folder, for it holds no recipe.yaml; mbert train writes one with -o.")
    # What the components' options mean was checked before it was trained; to check it again would take torch.
    recipe = load(recipe_file, [], lambda *_: [])
    lines = read_metrics(path / METRICS_FILE)
    kept = kept_epoch(lines)
    if kept is None:
        raise UsageError(
            f"{path}: no epoch of this run has been scored yet; wait for it, or train it on with --resume."
        )
    seconds = sum(line.seconds.train for line in lines)
    return RunReport(path, recipe, len(lines), kept, seconds, fitted_tasks(RunFolder(path)))
