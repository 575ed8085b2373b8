"""The results of a sweep: the rows of its table, read from the runs that are done.

Must not import torch: fast start-up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from mbert_cli.reports.best import Estimate, of_seeds
from mbert_cli.reports.run_report import RunReport, Scores, TaskMetric
from mbert_cli.storage.metrics_file import ended_early, kept_epoch
from mbert_cli.sweeps.folder import SweepRuns
from mbert_cli.sweeps.plan import Plan, PlannedRow
from mbert_cli.sweeps.run import RunState, SweepRun
from mbert_cli.sweeps.search_plan import Search


@dataclass(frozen=True)
class Spread:
    """The values of one number over seeds.

    Args:
        values: one value per seed, at least one.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return fmean(self.values)

    @property
    def lowest(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def highest(self) -> float:
        """The largest value."""
        return max(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return the values as JSON."""
        return {"mean": self.mean, "min": self.lowest, "max": self.highest, "values": list(self.values)}


@dataclass(frozen=True)
class RowResult:
    """A row of the table.

    Args:
        row: the row of the plan.
        runs: the runs of the row, in the order of its seeds.
        states: the progress of each run.
        reports: the reports of the runs that are done.
    """

    row: PlannedRow
    runs: tuple[SweepRun, ...]
    states: tuple[RunState, ...]
    reports: tuple[RunReport, ...]

    @cached_property
    def tasks(self) -> dict[TaskMetric, Spread]:
        """The main metric of each task."""
        columns = self.reports[0].scores.tasks if self.reports else {}
        return {each: Spread(tuple(run.scores.tasks[each] for run in self.reports)) for each in columns}

    @property
    def overall(self) -> Spread | None:
        """The score over all tasks; None if no run is done."""
        values = [run.scores.overall for run in self.reports]
        return Spread(tuple(each for each in values if each is not None)) if values else None

    @cached_property
    def estimates(self) -> dict[TaskMetric, Estimate]:
        """The means of the tasks' main metrics, with their standard errors."""
        return {each: of_seeds([run.estimates[each] for run in self.reports]) for each in self.tasks}

    @property
    def overall_estimate(self) -> Estimate | None:
        """The mean of the scores over all tasks, with its standard error."""
        seeds = [run.overall_estimate for run in self.reports]
        known = [each for each in seeds if each is not None]
        return of_seeds(known) if known else None

    @property
    def published(self) -> Scores | None:
        """The published scores that the row is compared with; None if there are none or no run is done."""
        return self.reports[0].reference if self.reports else None

    @property
    def kept_epochs(self) -> list[int]:
        """The best epoch of each run."""
        return [run.kept.epoch for run in self.reports]

    @property
    def times_encoder(self) -> float | None:
        """Parameters of the encoder with all adapters, divided by those of the encoder; None if unknown."""
        return self.reports[0].times_encoder if self.reports else None

    @property
    def trained_parameters(self) -> int | None:
        """Number of parameters that are trained in any phase; None if unknown."""
        parameters = self.reports[0].parameters if self.reports else {}
        if not parameters:
            return None
        return parameters["all"] - (parameters["encoder"] if self.row.recipe.training.freeze_encoder else 0)

    @property
    def train_seconds(self) -> float | None:
        """Mean training time of a run, in seconds; None if no run is done."""
        return fmean(run.train_seconds for run in self.reports) if self.reports else None

    @property
    def hardware(self) -> list[str]:
        """The devices and precisions of the runs, each once, such as `cuda, bf16`."""
        return list(dict.fromkeys(run.hardware for run in self.reports if run.hardware))

    def as_json(self) -> dict[str, Any]:
        """Return all results as JSON."""
        published = self.published
        return {
            "group": self.row.group,
            "name": self.row.name,
            **({"values": dict(self.row.values)} if self.row.values else {}),
            "runs": [
                {
                    "run": str(run.folder.path),
                    "seed": seed,
                    "status": state.status,
                    "epochs": state.epochs,
                    "exit_code": state.exit_code,
                    "said": state.message,
                }
                for run, seed, state in zip(self.runs, self.row.seeds, self.states, strict=True)
            ],
            "tasks": {task: {"metric": metric, **spread.as_json()} for (task, metric), spread in self.tasks.items()},
            "overall": self.overall.as_json() if self.overall is not None else None,
            "published": {"source": published.name, **published.as_json()} if published is not None else None,
            "kept_epochs": self.kept_epochs,
            "parameters": self.reports[0].parameters if self.reports else None,
            "times_encoder": self.times_encoder,
            "train_seconds": self.train_seconds,
            "hardware": self.hardware,
        }


@dataclass(frozen=True)
class SweepResult:
    """The results of a sweep.

    Args:
        title: title of the table.
        rows: the rows, in the order of the plan.
        search: the search whose trials the rows are; None for a plan with rows.
        importance: for each range of a search, its share of the variance of the scores, by its key.
    """

    title: str
    rows: tuple[RowResult, ...]
    search: Search | None = None
    importance: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def columns(self) -> list[TaskMetric]:
        """The tasks of all rows with their main metrics, each once."""
        return list(dict.fromkeys(column for row in self.rows for column in row.tasks))

    @property
    def hardware(self) -> set[str]:
        """The devices and precisions of all runs."""
        return {each for row in self.rows for each in row.hardware}

    @property
    def groups(self) -> Mapping[str, Sequence[RowResult]]:
        """The rows of each group, in the order of the plan."""
        groups: dict[str, list[RowResult]] = {}
        for row in self.rows:
            groups.setdefault(row.row.group, []).append(row)
        return groups

    @property
    def unfinished(self) -> Iterator[tuple[SweepRun, RunState]]:
        """Yield each run that is not done, once."""
        seen = set()
        for row in self.rows:
            for run, state in zip(row.runs, row.states, strict=True):
                if state.status not in ("done", "pruned") and run.name not in seen:
                    seen.add(run.name)
                    yield run, state

    @property
    def best_trial(self) -> RowResult | None:
        """The trial of a search with the highest overall score; None if no trial is done."""
        done = [row for row in self.rows if row.overall is not None]
        if self.search is None or not done:
            return None
        return max(done, key=lambda row: row.overall.mean if row.overall is not None else 0.0)

    def as_json(self) -> dict[str, Any]:
        """Return all results as JSON."""
        values: dict[str, Any] = {"title": self.title, "rows": [row.as_json() for row in self.rows]}
        if self.search is not None:
            best = self.best_trial
            values |= {"best": None if best is None else best.row.name, "importance": dict(self.importance)}
        return values


def read_results(plan: Plan, runs: SweepRuns) -> SweepResult:
    """Read the results of the runs of a plan."""
    rows = []
    states = {run.name: run.state() for run in runs}
    for row in plan.rows:
        own = runs.of(row)
        reports = [_report(run, row) for run in own if states[run.name].status == "done"]
        rows.append(RowResult(row, tuple(own), tuple(states[run.name] for run in own), tuple(reports)))
    return SweepResult(plan.title, tuple(rows), plan.search)


def _report(run: SweepRun, row: PlannedRow) -> RunReport:
    """Return the report of a run that is done. The published scores are those of the row, not of the run's recipe."""
    lines = run.folder.read_metrics()
    kept = kept_epoch(lines)
    assert kept is not None
    seconds = sum(line.seconds.train for line in lines)
    return RunReport(run.folder.path, row.recipe, len(lines), kept, seconds, ended=ended_early(lines))
