"""Trains the trials of a search: the loop of a sweep whose runs are suggested while it goes on.

Must not import torch: fast start-up.
"""

import json
from dataclasses import replace

from mbert_cli.machine.executor import Executor
from mbert_cli.storage.atomic import replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.sweeps.folder import SweepFolder, SweepRuns
from mbert_cli.sweeps.formats import write_tables
from mbert_cli.sweeps.plan import Plan
from mbert_cli.sweeps.results import SweepResult
from mbert_cli.sweeps.run import Options, SweepRun
from mbert_cli.sweeps.run_plan import SweepLoop, clear_changed
from mbert_cli.sweeps.trials import Trials, check_optuna
from mbert_cli.terminal.console import Console


def run_search(
    plan: Plan,
    folder: SweepFolder,
    options: Options,
    console: Console,
    executor: Executor,
    force: bool = False,
) -> SweepResult:
    """Train the trials of a search that have no result yet, and update the table after each of them.

    Arguments, result and errors are those of `run_plan`. The search ends with all trials, or when they have trained for
    its `max_time`.
    """
    parallel = folder.parallel_trials(executor.size, force)
    if parallel < executor.size:
        console.info(f"the search was started with -j {parallel}: no more trials train at the same time")
    plan = replace(plan, rows=())
    search = _SearchLoop(Trials(plan, folder, parallel), plan, folder, options, console, executor, force)
    search.add_trials()
    replace_file(folder.plan_file, plan.text)
    replace_file(folder.search_file, json.dumps({"parallel": parallel}) + "\n")
    return search.run()


def runs_so_far(plan: Plan, folder: SweepFolder, jobs: int) -> tuple[Plan, SweepRuns]:
    """Return the runs of a plan; of a search, those of the trials that are suggested so far, with their rows.

    Args:
        plan: the plan.
        folder: the folder of the sweep; nothing is written.
        jobs: number of runs at the same time.

    Raises:
        UsageError: the plan has a search, and Optuna is not installed.
    """
    if plan.search is None:
        return plan, folder.runs_of(plan)
    check_optuna()
    trials = Trials(plan, folder, folder.parallel_trials(jobs))
    list(trials.suggest())
    return trials.plan, trials.runs


def is_over(plan: Plan, runs: SweepRuns) -> bool:
    """Return whether there is nothing to train: all runs are done, or all trials of a search have a result.

    Args:
        plan: the plan, with the rows of the trials so far.
        runs: its runs; see `runs_so_far`.
    """
    if plan.search is None:
        return all(run.is_done() for run in runs)
    return all(run.is_settled(run.state()) for run in runs)


class _SearchLoop(SweepLoop):
    """The loop over the trials of a search.

    Args:
        trials: suggests the trials.
        plan: see `SweepLoop`.
        folder: see `SweepLoop`.
        options: see `SweepLoop`.
        console: see `SweepLoop`.
        executor: see `SweepLoop`.
        force: see `run_plan`.
    """

    def __init__(
        self,
        trials: Trials,
        plan: Plan,
        folder: SweepFolder,
        options: Options,
        console: Console,
        executor: Executor,
        force: bool,
    ) -> None:
        super().__init__(plan, folder, trials.runs, options, console, executor, write_tables)
        self.trials = trials
        self.force = force

    @property
    def total(self) -> int:
        """See `SweepLoop.total`. Trials with the same values share a run."""
        plan = self.trials.plan
        assert plan.search is not None
        if plan.search.section.trials is None:  # only `max_time` ends the search
            return len(self.runs)
        return len(self.runs) + plan.search.trials - len(plan.rows)

    def add_trials(self) -> None:
        """See `SweepLoop.add_trials`."""
        for run in self.trials.suggest():
            clear_changed([run], self.options, self.force)
            self.pending.append(run)
            self.plan = self.trials.plan

    def is_finished(self, run: SweepRun) -> bool:
        """Return whether the run is done, or has failed because of its settings, which is a result too."""
        return super().is_finished(run) or run.is_settled(run.state())

    def more_words(self, run: SweepRun) -> list[str]:
        """Write the scores below which the trial ends early; return the option with the name of their file."""
        limits = self.trials.limits_of(run)
        if not limits:
            return []
        file = self.folder.path / "limits" / f"{run.name}.json"
        with disk_errors(file):
            file.parent.mkdir(exist_ok=True)
        replace_file(file, json.dumps(limits) + "\n")
        return ["--prune-below", str(file)]
