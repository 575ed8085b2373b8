"""The task of a training run: starts the same process as a sweep on one machine, and waits for its end.

Must not import torch: the task itself needs little memory.
"""

import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from mbert_cli.errors import MbertError, UsageError
from mbert_cli.machine.child_process import exit_code, start

_POLL_EVERY = 0.1  # seconds


def train(words: Sequence[str], threads: int | None, log: str) -> tuple[int, str]:
    """Train a run on this machine of the cluster. If Ray cancels the task, the training saves its progress and ends.

    Args:
        words: see `Executor.start`; the paths in it are absolute.
        threads: see `Executor.start`.
        log: see `Executor.start`.

    Returns:
        The exit code of the training, and a message if the training could not be started.
    """
    cancelled: list[int] = []
    # Ray cancels a task as Ctrl-C interrupts a program. An exception could come before the process is recorded.
    before = signal.signal(signal.SIGINT, lambda number, _: cancelled.append(number))
    try:
        _check_shared(Path(words[1]))
        process = start(words, threads, Path(log))
        try:
            while process.poll() is None:
                if cancelled:
                    cancelled.clear()
                    process.send_signal(signal.SIGTERM)
                time.sleep(_POLL_EVERY)
        finally:  # Ray ends the worker: SystemExit
            if process.poll() is None:
                process.terminate()
                process.wait()
        return exit_code(process.returncode), ""
    except MbertError as error:
        return error.exit_code, str(error)
    finally:
        signal.signal(signal.SIGINT, before)


def _check_shared(recipe: Path) -> None:
    if not recipe.is_file():
        raise UsageError(
            f"{recipe}: does not exist on {socket.gethostname()}; put the sweep's folder (-o) on a disk that all "
            "machines share."
        )
