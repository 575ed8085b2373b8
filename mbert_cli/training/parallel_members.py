"""Trains members of an ensemble at the same time, each in its own process."""

import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mbert_cli.errors import RunFailedError, Stopped, counted
from mbert_cli.machine.child_process import last_lines, last_message, start, threads_each
from mbert_cli.machine.hardware import gpu_in_turn
from mbert_cli.machine.process_pool import ProcessPool
from mbert_cli.messages import one_line
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import in_use
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.progress import Bar
from mbert_cli.training.console import print_round
from mbert_cli.training.options import RunOptions
from mbert_cli.training.state import threads_of_run

_REMEDY = "progress of all members is saved. To continue, repeat the command with --resume."


def train_at_once(folder: RunFolder, members: Sequence[tuple[Recipe, RunFolder]], options: RunOptions) -> None:
    """Train several members of an ensemble at the same time, because small batches leave cores idle.

    Each training process writes a log beside its run folder. A member that has a state is resumed.

    Args:
        folder: the run folder of the ensemble, which contains its recipe.
        members: recipe and run folder of each member that is not done.
        options: how to train. `jobs` members train at a time and share the cores and the GPUs; if fewer are left at
            the end, each of them has more cores.

    Raises:
        RunFailedError: a member has failed; the others have saved their progress.
        ResourceError: the disk is full.
        Stopped: a signal asked to stop; all members have saved their progress.
    """
    if not members:
        return
    hardware, console = options.hardware, options.console
    shared = ["--precision", hardware.precision, "--kernels", hardware.kernels]
    shared += [] if options.limit is None else ["--limit", str(options.limit)]
    jobs = min(options.jobs, len(members))
    # The number of threads affects results, so it must not depend on which members happen to train at the same time.
    beside = [min(jobs, len(members) - number // jobs * jobs) for number in range(len(members))]
    waiting = [
        _Member(*each, options.allow_drift, threads_each(many)) for each, many in zip(members, beside, strict=True)
    ]

    def start_on(slot: int, member: _Member) -> subprocess.Popen[bytes]:
        device = gpu_in_turn(str(hardware.device), slot)
        if device != str(hardware.device):
            console.info(f"member {member.name}: training on {device}")
        return member.start(folder.recipe_file, ["--device", device, *shared])

    console.info(f"{counted(len(members), 'member')}, {jobs} at once; logs: {folder.members / '*.log'}")
    total = sum(recipe.training.epochs for recipe, _ in members)
    try:
        with ProcessPool[_Member](jobs, _Member.end) as pool, console.bar("epochs of all members", total) as bar:
            while waiting or pool.jobs:
                # If the parent was killed, a member's process may still hold the lock while it saves its state.
                while waiting and pool.has_room and not in_use(waiting[0].folder):
                    member = waiting.pop(0)
                    pool.start(member, partial(start_on, member=member))
                training = pool.jobs
                pool.poll()
                for each in training:
                    each.print_epochs(console, bar)
                if console.is_live:
                    bar.advance(partial(_notes, training), by=0)
    except Stopped as stop:
        raise Stopped(stop.number, f"{folder.path}: stopped; {_REMEDY}") from None


def _notes(training: Sequence["_Member"]) -> str:
    """Return the last message of each member, one per line."""
    return "\n".join(
        one_line(f"member {each.name}: {last_message(last_lines(each.log), 'starting')}") for each in training
    )


class _Member:
    """The training of one member.

    Args:
        recipe: the recipe of the member.
        folder: its run folder.
        allow_drift: see `RunOptions`.
        threads: number of threads of a new member; a resumed one uses the number that it was started with. None for
            PyTorch's default.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, allow_drift: bool, threads: int | None) -> None:
        self.recipe = recipe
        self.folder = folder
        self.allow_drift = allow_drift
        self.threads = threads
        self.name = folder.path.name
        self.log = folder.path.with_suffix(".log")
        self.printed = 0

    def start(self, recipe_file: Path, shared: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start or resume the training of the member."""
        resume = self.folder.states.is_dir()
        if not resume and self.folder.holds_a_run():
            self.folder.clear()
        words = ["train", str(recipe_file), "-o", str(self.folder.path)]
        words += ["training.members=1", f"training.seed={self.recipe.training.seed}", *shared]
        words += ["--resume", *["--allow-drift"] * self.allow_drift] * resume
        self.printed = len(self.folder.read_metrics()) if resume else 0
        with disk_errors(self.log):
            self.log.parent.mkdir(parents=True, exist_ok=True)
        return start(words, threads_of_run(self.folder) or self.threads, self.log)

    def print_epochs(self, console: Console, bar: Bar) -> None:
        """Print the epochs that have ended since the last call."""
        for record in self.folder.read_metrics()[self.printed :]:
            self.printed += 1
            print_round(console, record, self.recipe.training, int(self.name))
            bar.advance()

    def end(self, code: int) -> None:
        """Check the exit code of the training process.

        Raises:
            RunFailedError: the training of the member has failed.
        """
        if code:
            message = last_message(last_lines(self.log))
            raise RunFailedError(
                code, f"{self.log}: member {self.name} failed with exit code {code}: {message}", _REMEDY
            )
