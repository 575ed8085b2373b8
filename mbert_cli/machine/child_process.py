"""A training in a process of its own. No torch here."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mbert_cli.storage.disk import disk_errors

# -P: nothing is imported from the folder that the command is run in.
MBERT = (sys.executable, "-P", "-m", "mbert_cli.cli")
"""The command that trains."""

_COMMAND = "$ mbert "
_TAIL = 1 << 14  # bytes of a log that are looked at


def start(words: Sequence[str], threads: int | None, log: Path) -> subprocess.Popen[bytes]:
    """Start a training in a process group of its own, so that Ctrl-C reaches it once, by way of this process.

    Args:
        words: of its command line, from `train` on.
        threads: how many it computes with; None for PyTorch's own choice.
        log: the file that takes the command and what it says, below what is there.

    Raises:
        ResourceError: the disk is full.
    """
    with disk_errors(log), log.open("a", encoding="utf-8") as file:
        file.write(f"{_COMMAND}{shlex.join(words)}\n")
        file.flush()
        return spawn(words, threads, file.fileno())


def spawn(words: Sequence[str], threads: int | None, log: int) -> subprocess.Popen[bytes]:
    """Start the process of `start`; `log` is the open file that takes what it says."""
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        environment = {**environment, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(  # noqa: S603 -- this very program
        [*MBERT, *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        process_group=0,
        preexec_fn=_end_with(os.getpid()) if sys.platform == "linux" else None,
    )


def last_lines(log: Path) -> list[str]:
    """Return the last lines of a log that are not blank, the command's among them; none where it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()]


def last_message(lines: Sequence[str], silent: str = "it said nothing") -> str:
    """Return what a training said last, of the lines of its log; `silent` where it said nothing."""
    return lines[-1] if lines and not lines[-1].startswith(_COMMAND) else silent


def exit_code(process: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a training that has ended; 128 and the number of the signal that killed it."""
    code = process.returncode
    return code if code >= 0 else 128 - code


def threads_each(jobs: int) -> int | None:
    """Return how many threads each of so many trainings has; None for PyTorch's own choice."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    stated = int(said) if said.isdecimal() and int(said) > 0 else None
    if jobs == 1:
        return stated
    return max(1, (stated or cores()) // jobs)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with(parent: int) -> Callable[[], None]:
    """Return what makes a new process end with this one, however that dies: the system sends it SIGTERM then.

    Elsewhere than on Linux a training outlives its parent that is killed; its run folder is held until it ends.
    """
    libc = ctypes.CDLL(None)
    set_death_signal = 1  # PR_SET_PDEATHSIG

    def prepare() -> None:
        libc.prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)

    return prepare
