"""What a sweep has come to: the rows of its table, read from the runs that are done. No torch here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from mbert_cli.reports.best import Estimate, of_seeds
from mbert_cli.reports.run_report import RunReport, Scores, TaskMetric
from mbert_cli.storage.metrics_file import kept_epoch
from mbert_cli.sweeps.folder import SweepRuns
from mbert_cli.sweeps.plan import Plan, PlannedRow
from mbert_cli.sweeps.run import RunState, SweepRun


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Args:
        values: one a seed; at least one.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return fmean(self.values)

    @property
    def lowest(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def highest(self) -> float:
        """The largest."""
        return max(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"mean": self.mean, "min": self.lowest, "max": self.highest, "values": list(self.values)}


@dataclass(frozen=True)
class RowResult:
    """A row of the table.

    Args:
        row: as planned.
        runs: its runs, in the order of its seeds.
        states: how far each has come.
        reports: of those that are done.
    """

    row: PlannedRow
    runs: tuple[SweepRun, ...]
    states: tuple[RunState, ...]
    reports: tuple[RunReport, ...]

    @cached_property
    def tasks(self) -> dict[TaskMetric, Spread]:
        """Each task's main metric."""
        columns = self.reports[0].scores.tasks if self.reports else {}
        return {each: Spread(tuple(run.scores.tasks[each] for run in self.reports)) for each in columns}

    @property
    def overall(self) -> Spread | None:
        """The score over all tasks; None where no run is done."""
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
        """The scores that the row's recipe compares with; None also where no run is done."""
        return self.reports[0].reference if self.reports else None

    @property
    def kept_epochs(self) -> list[int]:
        """The epoch whose model was the best, of every run."""
        return [run.kept.epoch for run in self.reports]

    @property
    def times_encoder(self) -> float | None:
        """The encoder with all adapters over the encoder alone."""
        return self.reports[0].times_encoder if self.reports else None

    @property
    def trained_parameters(self) -> int | None:
        """How many of the model's parameters train, in some phase; None where the runs do not tell."""
        parameters = self.reports[0].parameters if self.reports else {}
        if not parameters:
            return None
        return parameters["all"] - (parameters["encoder"] if self.row.recipe.training.freeze_encoder else 0)

    @property
    def train_seconds(self) -> float | None:
        """Of a run, on average."""
        return fmean(run.train_seconds for run in self.reports) if self.reports else None

    @property
    def hardware(self) -> list[str]:
        """What its runs were computed on, each once: `cuda, bf16`."""
        return list(dict.fromkeys(run.hardware for run in self.reports if run.hardware))

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        published = self.published
        return {
            "group": self.row.group,
            "name": self.row.name,
            "runs": [
                {
                    "run": str(run.folder.path),
                    "seed": seed,
                    "status": state.status,
                    "epochs": state.epochs,
                    "exit_code": state.exit_code,
                    "said": state.said,
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
    """The table.

    Args:
        title: stands above it.
        rows: in the plan's order.
    """

    title: str
    rows: tuple[RowResult, ...]

    @cached_property
    def columns(self) -> list[TaskMetric]:
        """The tasks of all rows, each once."""
        return list(dict.fromkeys(column for row in self.rows for column in row.tasks))

    @property
    def hardware(self) -> set[str]:
        """What the runs were computed on."""
        return {each for row in self.rows for each in row.hardware}

    @property
    def groups(self) -> Mapping[str, Sequence[RowResult]]:
        """The rows by their groups, in the order in which those are first named."""
        found: dict[str, list[RowResult]] = {}
        for row in self.rows:
            found.setdefault(row.row.group, []).append(row)
        return found

    @property
    def unfinished(self) -> Iterator[tuple[SweepRun, RunState]]:
        """Each run that is not done, once."""
        seen = set()
        for row in self.rows:
            for run, state in zip(row.runs, row.states, strict=True):
                if state.status != "done" and run.name not in seen:
                    seen.add(run.name)
                    yield run, state

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"title": self.title, "rows": [row.as_json() for row in self.rows]}


def read_results(plan: Plan, runs: SweepRuns) -> SweepResult:
    """Read what the runs of a plan have come to."""
    rows = []
    states = {run.name: run.state() for run in runs}
    for row in plan.rows:
        own = runs.of(row)
        reports = [_report(run, row) for run in own if states[run.name].status == "done"]
        rows.append(RowResult(row, tuple(own), tuple(states[run.name] for run in own), tuple(reports)))
    return SweepResult(plan.title, tuple(rows))


def _report(run: SweepRun, row: PlannedRow) -> RunReport:
    """Return the report of a run that is done; as of this row, whose reference may be another than the run's own."""
    lines = run.folder.read_metrics()
    kept = kept_epoch(lines)
    assert kept is not None
    return RunReport(run.folder.path, row.recipe, len(lines), kept, sum(line.seconds.train for line in lines))
