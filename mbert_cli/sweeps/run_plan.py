"""Trains the runs of a plan in separate processes, on this machine or others.

Must not import torch: fast start-up.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from mbert_cli.errors import RunFailedError, RunInUseError, Stopped, UsageError, counted
from mbert_cli.machine.executor import Executor
from mbert_cli.machine.process_pool import Process, ProcessPool
from mbert_cli.storage.atomic import replace_file
from mbert_cli.storage.metrics_file import kept_epoch
from mbert_cli.storage.run_lock import in_use
from mbert_cli.sweeps.folder import SweepFolder, SweepRuns
from mbert_cli.sweeps.formats import write_tables
from mbert_cli.sweeps.plan import Plan
from mbert_cli.sweeps.results import SweepResult, read_results
from mbert_cli.sweeps.run import Options, SweepRun
from mbert_cli.sweeps.table import done_of, note_of
from mbert_cli.terminal.console import Console


def run_plan(
    plan: Plan,
    folder: SweepFolder,
    options: Options,
    console: Console,
    executor: Executor,
    force: bool = False,
    write: Callable[[Path, SweepResult], None] | None = None,
) -> SweepResult:
    """Train all runs of a plan that are not done, and update the table after each of them.

    Runs are independent: if one fails, the others continue, and the next sweep retries it.

    Args:
        plan: the plan.
        folder: the folder of the sweep, locked by the caller.
        options: options of all runs.
        console: where progress is printed.
        executor: starts the training runs.
        force: replace runs that were started with a different recipe, different options or different files.
        write: writes the files with the results of the runs so far into the folder; by default `write_tables`.

    Returns:
        The results of all runs.

    Raises:
        UsageError: runs were started with a different recipe, different options or different files.
        ResourceError: the disk is full.
        Stopped: a signal asked to stop; the training runs have saved their progress.
    """
    runs = folder.runs_of(plan)
    clear_changed(runs, options, force)
    replace_file(folder.plan_file, plan.text)
    return SweepLoop(plan, folder, runs, options, console, executor, write or write_tables).run()


def check_failures(result: SweepResult, folder: SweepFolder) -> None:
    """Check that all runs are done. Trials of a search may fail because of their settings, but not all of them.

    Raises:
        RunFailedError: a run has failed; the exit code is that of the first one.
    """
    failed = list(result.unfinished)
    if result.search is not None and any(row.reports for row in result.rows):
        failed = [(run, state) for run, state in failed if not run.is_settled(state)]
    if failed:
        (run, state), *others = failed
        more = f"; and {len(others)} more" if others else ""
        what = f"{folder.path}: not all runs are done: {note_of(run, state)}{more}."
        raise RunFailedError(state.exit_code or 1, f"{what} Run the same command again to retry.")


def clear_changed(runs: Iterable[SweepRun], options: Options, force: bool) -> None:
    """Reject runs that were started with different settings or files, or remove them if `force` is set."""
    changed = [(run, changes) for run in runs if (changes := run.changes(options))]
    if not force and changed:
        problems = []
        for run, changes in changed:
            more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
            problems.append(f"{run.folder.path}: {'; '.join(changes[:3])}{more}.")
        remedy = "undo the change, replace these runs with --force, or choose another -o"
        raise UsageError(*problems, f"These runs were started with different settings or files: {remedy}.")
    for run, _ in changed:
        run.clear()


class SweepLoop:
    """The loop over the runs of a plan.

    Args:
        plan: the plan.
        folder: the folder of the sweep.
        runs: the runs of the plan.
        options: options of all runs.
        console: where progress is printed.
        executor: starts the training runs.
        write: see `run_plan`.
    """

    def __init__(
        self,
        plan: Plan,
        folder: SweepFolder,
        runs: SweepRuns,
        options: Options,
        console: Console,
        executor: Executor,
        write: Callable[[Path, SweepResult], None],
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.runs = runs
        self.options = options
        self.console = console
        self.executor = executor
        self.write = write
        self.pending = runs.in_turn(plan.rows) if plan.rows else []
        self.pool = ProcessPool[SweepRun](executor.size, self._end, self._note_stop)
        self.waited_for: set[str] = set()

    def run(self) -> SweepResult:
        """Train all runs that are not done; see `run_plan`."""
        self._skip_done()
        self._tabulate()
        try:
            with self.pool:
                while self.pending or self.pool.jobs:
                    self._start_runs()
                    self.pool.poll()
                    self.add_trials()
        except Stopped as stop:
            self._tabulate()
            done = done_of(sum(run.is_done() for run in self.runs), self.total)
            what = f"{self.folder.path}: stopped; {done}, and the progress of the others is saved."
            raise Stopped(stop.number, f"{what} Run the same command again to continue.") from None
        return read_results(self.plan, self.runs)

    def add_trials(self) -> None:
        """Add the runs that a search suggests now; a plan with rows has none."""

    @property
    def total(self) -> int:
        """Number of all runs."""
        return len(self.runs)

    def _tabulate(self) -> None:
        self.write(self.folder.path, read_results(self.plan, self.runs))

    def _skip_done(self) -> None:
        """Remove runs that are done from those to train."""
        before = len(self.pending)
        self.pending = [run for run in self.pending if not self.is_finished(run)]
        if before > len(self.pending):
            self.console.info(f"{done_of(before - len(self.pending), before)} already")

    def is_finished(self, run: SweepRun) -> bool:
        """Return whether a run is done and not locked; if so, remove the parts that the plan does not keep."""
        if not run.is_done():
            return False
        try:
            run.keep_only(self.plan.keep)
        except RunInUseError:
            return False
        return True

    def _start_runs(self) -> None:
        """Start as many runs as may train at the same time."""
        for run in list(self.pending):
            if not self.pool.has_room:
                break
            if in_use(run.folder):
                # The process was started by hand, or by a sweep that has ended since. The run continues after it ends.
                if run.name not in self.waited_for:
                    self.waited_for.add(run.name)
                    self.console.info(
                        f"{run.label}: another process is training {run.folder.path}; waiting for its end"
                    )
            elif self.is_finished(run):
                self.pending.remove(run)
                self.console.info(f"{self._count()} {run.label}: done, by another process")
                self._tabulate()
            else:
                self._start(run)
                self.pending.remove(run)

    def _count(self) -> str:
        left = len(self.pending) + len(self.pool.jobs)
        return f"[{len(self.runs) - left}/{self.total}]"

    def _start(self, run: SweepRun) -> None:
        """Start or resume the training of a run."""
        resume = run.folder.is_resumable()
        threads = run.begin(self.options, self.executor.threads)
        words = ["train", str(run.recipe_file), "-o", str(run.folder.path)]
        # If the removal of an earlier run was interrupted, only its metrics may be left; --force replaces them.
        words += ["--resume"] if resume else ["--force"] * run.folder.holds_a_run()
        more = self.more_words(run)

        def start(slot: int) -> Process:
            device = self.executor.device_of(slot)
            where = "" if device == self.options.device else f" on {device}"
            self.console.info(f"{run.label}: {'resuming' if resume else 'training'}{where}; {run.log}")
            return self.executor.start([*words, *self.options.words(device), *more], threads, run.log)

        self.pool.start(run, start)

    def more_words(self, run: SweepRun) -> list[str]:
        """Return words for the command line of one run."""
        return []

    def _end(self, run: SweepRun, code: int) -> None:
        """Record and print how the training of a run ended."""
        if code == RunInUseError.exit_code:
            self.pending.append(run)  # another process locked it just before
            return
        run.note_end(code)
        if run.is_done():
            self.is_finished(run)
            kept = kept_epoch(run.folder.read_metrics())
            assert kept is not None
            state = run.state()
            result = "done" if state.status == "done" else f"pruned after {counted(state.epochs, kept.round_name)}"
            self.console.info(f"{self._count()} {run.label}: {result}; overall {kept.overall:.3f}, epoch {kept.epoch}")
        else:
            self.console.info(f"{self._count()} {note_of(run, run.state())}")
        self._tabulate()

    def _note_stop(self, run: SweepRun, code: int) -> None:
        if not run.is_done():
            run.note_end(code)
