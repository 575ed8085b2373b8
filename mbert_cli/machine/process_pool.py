"""ProcessPool: a limited number of processes at a time.

Must not import torch: fast start-up.
"""

import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, TypeVar, runtime_checkable

from mbert_cli.machine.child_process import exit_code
from mbert_cli.machine.signals import deferred, ignore_further_signals, stopped_by

_POLL_EVERY = 0.1  # seconds
_POLL_IDLE = 1.0  # seconds, while no process runs

Job = TypeVar("Job")


@runtime_checkable
class Process(Protocol):
    """A process that the pool has started: `subprocess.Popen`, or a process on another machine.

    Attributes:
        returncode: exit code of a process that has ended; negative for the number of the signal that killed it.
    """

    returncode: int

    def poll(self) -> int | None:
        """Return the exit code, or None if the process has not ended."""

    def wait(self) -> int:
        """Wait for the end of the process, and return its exit code."""

    def send_signal(self, number: int, /) -> None:
        """Ask the process to save its progress and to end."""


class ProcessPool(Generic[Job]):
    """Runs processes, a limited number at a time, and leaves none behind.

    A process that runs has a slot, a number below `size` that no other running process has.

    An exception that leaves the `with` block ends all processes: each receives the signal that stopped this process,
    or SIGTERM, and the block waits until it has saved its progress and ended. If the exception is the effect of a
    signal, the block raises `Stopped`.

    Args:
        size: maximum number of processes that run at the same time.
        on_end: is called with a job and the exit code of its process after the process has ended.
        on_stop: is called instead if an exception ended the process.
    """

    def __init__(
        self,
        size: int,
        on_end: Callable[[Job, int], None],
        on_stop: Callable[[Job, int], None] | None = None,
    ) -> None:
        self.size = size
        self._on_end = on_end
        self._on_stop = on_stop
        self._running: dict[int, tuple[Job, Process]] = {}  # by slot

    @property
    def jobs(self) -> list[Job]:
        """The jobs whose processes run."""
        return [job for job, _ in self._running.values()]

    @property
    def has_room(self) -> bool:
        """Whether another process may start."""
        return len(self._running) < self.size

    def start(self, job: Job, start: Callable[[int], Process]) -> None:
        """Start the process of a job; signals are deferred, so that no process starts without being recorded.

        Args:
            job: the job.
            start: receives the lowest free slot, and returns the process.
        """
        slot = next(number for number in range(self.size) if number not in self._running)
        with deferred():
            self._running[slot] = job, start(slot)

    def poll(self) -> None:
        """Wait a moment, then call `on_end` for each process that has ended, with signals deferred."""
        time.sleep(_POLL_EVERY if self._running else _POLL_IDLE)
        for slot in [slot for slot, (_, process) in self._running.items() if process.poll() is not None]:
            with deferred():
                job, process = self._running.pop(slot)
                self._on_end(job, exit_code(process.returncode))

    def __enter__(self) -> "ProcessPool[Job]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            return
        stop = stopped_by(error)
        ignore_further_signals()
        self._stop_all(signal.SIGTERM if stop is None else stop.number)
        if stop is not None and stop is not error:
            raise stop from None

    def _stop_all(self, number: int) -> None:
        for _, process in self._running.values():
            if process.poll() is None:
                process.send_signal(number)
        for job, process in self._running.values():
            process.wait()
            if self._on_stop is not None:
                self._on_stop(job, exit_code(process.returncode))
