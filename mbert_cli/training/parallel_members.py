"""One procedure: train_at_once; members of an ensemble side by side, each a training in a process of its own."""

import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mbert_cli.errors import RunFailedError, Stopped
from mbert_cli.machine.child_process import exit_code, last_lines, last_message, start, threads_each
from mbert_cli.machine.signals import deferred, ignore_further_signals, stopped_by
from mbert_cli.messages import one_line
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.progress import Bar
from mbert_cli.training.console import print_epoch
from mbert_cli.training.options import RunOptions
from mbert_cli.training.state import threads_begun_with

_LOOK_EVERY = 0.1  # seconds
_REMEDY = "progress of all members is saved. Continue with --resume."


def train_at_once(folder: RunFolder, members: Sequence[tuple[Recipe, RunFolder]], options: RunOptions) -> None:
    """Train members of an ensemble, several at once: small batches leave cores idle that other members can use.

    Args:
        folder: of the ensemble, its recipe in it.
        members: recipe and folder of each that is not trained, or not to its end.
        options: how to train; `jobs` at a time, which share the cores. If fewer are left at the end, each has more
            cores. Each training prints into a log beside its folder. A member that has a state is resumed.

    Raises:
        RunFailedError: one has failed; the others have saved their progress.
        ResourceError: the disk is full.
        Stopped: a signal asked for it; all have saved their progress.
    """
    if not members:
        return
    hardware, console = options.hardware, options.console
    shared = ["--device", str(hardware.device), "--precision", hardware.precision, "--kernels", hardware.kernels]
    shared += [] if options.limit is None else ["--limit", str(options.limit)]
    jobs = min(options.jobs, len(members))
    # By its number, not by who still trains when it begins, which chance decides and results would follow from.
    beside = [min(jobs, len(members) - number // jobs * jobs) for number in range(len(members))]
    waiting = [
        _Member(*each, options.allow_drift, threads_each(many)) for each, many in zip(members, beside, strict=True)
    ]
    training: list[_Member] = []
    console.info(f"{len(members)} members, {jobs} at once; what each says: {folder.members / '*.log'}")
    total = sum(recipe.training.epochs for recipe, _ in members)
    try:
        with console.bar("epochs of all members", total) as bar:
            while waiting or training:
                # One that is held is saving still: its process outlives a parent that was killed, for a moment.
                while waiting and len(training) < jobs and not waiting[0].folder.in_use():
                    with deferred():
                        waiting[0].begin(folder.recipe_file, shared)
                        training.append(waiting.pop(0))
                time.sleep(_LOOK_EVERY)
                ended = [each for each in training if each.has_ended()]
                for each in training:
                    each.tell(console, bar)
                if console.is_live:
                    bar.advance(partial(_notes, training), by=0)
                training = [each for each in training if each not in ended]
    except BaseException as error:
        stop = stopped_by(error)
        ignore_further_signals()
        for each in [each for each in training if each.process.poll() is None]:
            each.process.send_signal(signal.SIGTERM if stop is None else stop.number)
        for each in training:
            each.process.wait()
        if stop is None:
            raise
        raise Stopped(stop.number, f"{folder.path}: stopped; {_REMEDY}") from None


def _notes(training: Sequence["_Member"]) -> str:
    """Return what each member that trains said last, a line each."""
    return "\n".join(
        one_line(f"member {each.name}: {last_message(last_lines(each.log), 'starting')}") for each in training
    )


class _Member:
    """One member and its training.

    Args:
        recipe: what it trains.
        folder: where.
        allow_drift: see `fit`.
        threads: how many it computes with, unless it was begun with others; None for PyTorch's own choice.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, recipe: Recipe, folder: RunFolder, allow_drift: bool, threads: int | None) -> None:
        self.recipe = recipe
        self.folder = folder
        self.allow_drift = allow_drift
        self.threads = threads
        self.name = folder.path.name
        self.log = folder.path.with_suffix(".log")
        self.printed = 0

    def begin(self, recipe_file: Path, shared: Sequence[str]) -> None:
        """Begin the training, or go on with it."""
        resume = self.folder.states.is_dir()
        if not resume and self.folder.holds_a_run():
            self.folder.clear()
        words = ["train", str(recipe_file), "-o", str(self.folder.path)]
        words += ["training.members=1", f"training.seed={self.recipe.training.seed}", *shared]
        words += ["--resume", *["--allow-drift"] * self.allow_drift] * resume
        self.printed = len(self.folder.read_metrics()) if resume else 0
        with disk_errors(self.log):
            self.log.parent.mkdir(parents=True, exist_ok=True)
        self.process = start(words, threads_begun_with(self.folder) or self.threads, self.log)

    def tell(self, console: Console, bar: Bar) -> None:
        """Tell of epochs that have ended since."""
        for record in self.folder.read_metrics()[self.printed :]:
            self.printed += 1
            print_epoch(console, record, self.recipe.training.epochs, int(self.name))
            bar.advance()

    def has_ended(self) -> bool:
        """Whether it is trained to its end.

        Raises:
            RunFailedError: it has failed.
        """
        if self.process.poll() is None:
            return False
        code = exit_code(self.process)
        if code:
            said = last_message(last_lines(self.log))
            raise RunFailedError(code, f"{self.log}: member {self.name} failed with exit code {code}: {said}", _REMEDY)
        return True
