"""Training runs in child processes, and their logs.

Must not import torch: fast start-up.
"""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mbert_cli.storage.disk import disk_errors

# -P: Python does not import modules from the working folder.
MBERT = (sys.executable, "-P", "-m", "mbert_cli.cli")
"""The command that runs mbert."""

_COMMAND = "$ mbert "
_TAIL = 1 << 14  # bytes at the end of a log that are read


def start(words: Sequence[str], threads: int | None, log: Path) -> subprocess.Popen[bytes]:
    """Start a training run in its own process group, so that Ctrl-C reaches it only through this process.

    Args:
        words: words of its command line, starting with `train`.
        threads: number of threads; None for PyTorch's default.
        log: a file to which the command and its output are appended.

    Raises:
        ResourceError: the disk is full.
    """
    with disk_errors(log), log.open("a", encoding="utf-8") as file:
        file.write(f"{_COMMAND}{shlex.join(words)}\n")
        file.flush()
        return spawn(words, threads, file.fileno())


def spawn(words: Sequence[str], threads: int | None, log: int) -> subprocess.Popen[bytes]:
    """Start the process of `start`.

    Args:
        words: see `start`.
        threads: see `start`.
        log: descriptor of the file for the output.
    """
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        environment = {**environment, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(  # noqa: S603 -- this program itself
        [*MBERT, *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        process_group=0,
        preexec_fn=_end_with_parent(os.getpid()) if sys.platform == "linux" else None,
    )


def last_lines(log: Path) -> list[str]:
    """Return the last lines of a log that are not blank; an empty list if the log cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()]


def last_message(lines: Sequence[str], silent: str = "no output") -> str:
    """Return the last message of a training run.

    Args:
        lines: lines of its log.
        silent: the result if there is no message.
    """
    return lines[-1] if lines and not lines[-1].startswith(_COMMAND) else silent


def exit_code(code: int) -> int:
    """Return the exit code that a shell reports: for a process that a signal killed, 128 plus its number.

    Args:
        code: exit code as `subprocess.Popen` reports it.
    """
    return code if code >= 0 else 128 - code


def threads_each(jobs: int) -> int | None:
    """Return the number of threads of each training run, if the cores or `OMP_NUM_THREADS` are shared among them.

    Args:
        jobs: number of training runs at the same time.

    Returns:
        The number of threads, or None for PyTorch's default.
    """
    value = os.environ.get("OMP_NUM_THREADS", "")
    chosen = int(value) if value.isdecimal() and int(value) > 0 else None
    if jobs == 1:
        return chosen
    return max(1, (chosen or cores()) // jobs)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_parent(parent: int) -> Callable[[], None]:
    """Return a function that makes a new process end when its parent ends for any reason: Linux then sends it SIGTERM.

    On other systems, a training run outlives a parent that is killed, and its run folder stays locked until it ends.

    Args:
        parent: process id of the parent.
    """
    libc = ctypes.CDLL(None)
    set_death_signal = 1  # PR_SET_PDEATHSIG

    def prepare() -> None:
        libc.prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)

    return prepare
