"""One procedure: sweep; the runs of a plan, each a training in a process of its own. No torch here."""

import signal
import subprocess
import time
from dataclasses import dataclass

from mbert_cli.errors import RunFailedError, RunInUseError, Stopped, UsageError
from mbert_cli.machine.child_process import exit_code, start, threads_each
from mbert_cli.machine.signals import deferred, ignore_further_signals, stopped_by
from mbert_cli.storage.atomic import replace_file
from mbert_cli.storage.metrics_file import kept_epoch
from mbert_cli.sweeps.folder import SweepFolder, SweepRuns
from mbert_cli.sweeps.formats import note_of, write_tables
from mbert_cli.sweeps.plan import Plan
from mbert_cli.sweeps.results import SweepResult, read_results
from mbert_cli.sweeps.run import Options, SweepRun
from mbert_cli.terminal.console import Console

_LOOK_EVERY = 0.1  # seconds
_LOOK_AGAIN = 1.0  # seconds, where all that is left is held by others


def run_plan(
    plan: Plan,
    folder: SweepFolder,
    options: Options,
    console: Console,
    jobs: int = 1,
    force: bool = False,
    offline: bool = False,
) -> SweepResult:
    """Train all runs of a plan that are not done, and keep the table of what is there up to date.

    Runs do not know of each other: where one fails, the others go on, and the next sweep tries it again.

    Args:
        plan: what to run.
        folder: where; the caller holds its lock.
        options: of all runs.
        console: where progress is printed.
        jobs: how many runs at once; they share the cores.
        force: replace runs that were begun with another recipe or other options.
        offline: whether trainings may not use the network.

    Returns:
        The table.

    Raises:
        UsageError: runs were begun with another recipe or other options.
        ResourceError: the disk is full.
        Stopped: a signal asked for it; the trainings have saved their progress.
    """
    runs = folder.runs_of(plan)
    _clear_changed(runs, options, force)
    replace_file(folder.plan_file, plan.text)
    return _Sweep(plan, folder, runs, options, console, jobs, offline).run()


def check_failures(result: SweepResult, folder: SweepFolder) -> None:
    """Check that no run has failed.

    Raises:
        RunFailedError: with the exit code of the first that has.
    """
    failed = list(result.unfinished)
    if failed:
        (run, state), *others = failed
        more = f"; and {len(others)} more" if others else ""
        what = f"{folder.path}: not all runs are done: {note_of(run, state)}{more}."
        raise RunFailedError(state.exit_code or 1, f"{what} The same command tries again.")


def _clear_changed(runs: SweepRuns, options: Options, force: bool) -> None:
    """Refuse runs that were begun with something else, or remove them."""
    changed = [(run, found) for run in runs if (found := run.changes(options))]
    if not force and changed:
        problems = []
        for run, found in changed:
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            problems.append(f"{run.folder.path}: {'; '.join(found[:3])}{more}.")
        remedy = "undo the change, replace these runs with --force, or choose another -o"
        raise UsageError(*problems, f"Runs were begun with something else than is asked for now: {remedy}.")
    for run, _ in changed:
        run.clear()


@dataclass(frozen=True)
class _Child:
    """A training that is going on."""

    run: SweepRun
    process: subprocess.Popen[bytes]


class _Sweep:
    """The loop over runs."""

    def __init__(
        self,
        plan: Plan,
        folder: SweepFolder,
        runs: SweepRuns,
        options: Options,
        console: Console,
        jobs: int,
        offline: bool,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.runs = runs
        self.options = options
        self.console = console
        self.jobs = jobs
        self.offline = offline
        self.pending = runs.in_turn(plan.rows)
        self.children: list[_Child] = []
        self.waited_for: set[str] = set()

    def run(self) -> SweepResult:
        """Train all that is left; see `run_plan`."""
        self._skip_done()
        result = self._tabulate()
        try:
            while self.pending or self.children:
                if self._begin_what_can_begin():
                    result = self._tabulate()
                blocked = self.pending and not self.children
                time.sleep(_LOOK_AGAIN if blocked else _LOOK_EVERY)
                for child in [each for each in self.children if each.process.poll() is not None]:
                    with deferred():
                        self.children.remove(child)
                        self._end(child)
                    result = self._tabulate()
        except BaseException as error:
            stop = stopped_by(error)
            ignore_further_signals()
            self._stop_children(stop.number if stop is not None else signal.SIGTERM)
            if stop is None:
                raise
            self._tabulate()
            done = sum(run.is_done() for run in self.runs)
            how = f"{self.folder.path}: stopped; {done} of {len(self.runs)} runs are done, progress of others is saved."
            raise Stopped(stop.number, f"{how} The same command goes on.") from None
        return result

    def _tabulate(self) -> SweepResult:
        result = read_results(self.plan, self.runs)
        write_tables(self.folder.path, result)
        return result

    def _skip_done(self) -> None:
        """Strike out what is done already."""
        before = len(self.pending)
        self.pending = [run for run in self.pending if not self._is_finished(run)]
        if before > len(self.pending):
            self.console.info(f"{before - len(self.pending)} of {before} runs are done already")

    def _is_finished(self, run: SweepRun) -> bool:
        """Whether a run is done, and nobody holds it; then what is not kept of it is removed."""
        if not run.is_done():
            return False
        try:
            run.keep_only(self.plan.keep)
        except RunInUseError:
            return False
        return True

    def _begin_what_can_begin(self) -> bool:
        """Begin as many runs as may go on at once; return whether others have ended any."""
        found = False
        for run in list(self.pending):
            if len(self.children) >= self.jobs:
                break
            if run.folder.in_use():
                # A training that outlived its sweep, or one that somebody began by hand: it ends, and its run goes on.
                if run.name not in self.waited_for:
                    self.waited_for.add(run.name)
                    self.console.info(
                        f"{run.label}: another process is training {run.folder.path}; waiting for its end"
                    )
                continue
            if self._is_finished(run):
                found = True
                self.pending.remove(run)
                self.console.info(f"{self._count()} {run.label}: done, by another process")
                continue
            with deferred():
                self._begin(run)
                self.pending.remove(run)
        return found

    def _count(self) -> str:
        total = len(self.runs)
        left = len(self.pending) + len(self.children)
        return f"[{total - left}/{total}]"

    def _begin(self, run: SweepRun) -> None:
        """Begin a training, or go on with it."""
        resume = run.folder.can_go_on()
        threads = run.begin(self.options, threads_each(self.jobs))
        words = ["train", str(run.recipe_file), "-o", str(run.folder.path), *self.options.words()]
        # Of a run that was cut short, perhaps its metrics alone were kept.
        words += ["--resume"] if resume else ["--force"] * run.folder.holds_a_run()
        words += ["--offline"] * self.offline
        self.children.append(_Child(run, start(words, threads, run.log)))
        self.console.info(f"{run.label}: {'going on' if resume else 'training'}; {run.log}")

    def _end(self, child: _Child) -> None:
        """Account for a training that has ended."""
        run = child.run
        code = exit_code(child.process)
        if code == RunInUseError.exit_code:
            self.pending.append(run)  # somebody took it just before we did
            return
        run.note_end(code)
        if run.is_done():
            self._is_finished(run)
            kept = kept_epoch(run.folder.read_metrics())
            assert kept is not None
            self.console.info(f"{self._count()} {run.label}: done; overall {kept.overall:.3f}, epoch {kept.epoch}")
        else:
            self.console.info(f"{self._count()} {note_of(run, run.state())}")

    def _stop_children(self, number: int) -> None:
        """Pass a signal on; wait until all have saved their progress."""
        for child in self.children:
            child.process.send_signal(number)
        for child in self.children:
            child.process.wait()
            if not child.run.is_done():
                child.run.note_end(exit_code(child.process))
