"""ProcessPool: a limited number of child processes at a time.

Must not import torch: fast start-up.
"""

import signal
import subprocess
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from mbert_cli.machine.child_process import exit_code
from mbert_cli.machine.signals import deferred, ignore_further_signals, stopped_by

_POLL_EVERY = 0.1  # seconds
_POLL_IDLE = 1.0  # seconds, while no process runs

Job = TypeVar("Job")


class ProcessPool(Generic[Job]):
    """Runs child processes, a limited number at a time, and leaves none behind.

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
        self._running: list[tuple[Job, subprocess.Popen[bytes]]] = []

    @property
    def jobs(self) -> list[Job]:
        """The jobs whose processes run."""
        return [job for job, _ in self._running]

    @property
    def has_room(self) -> bool:
        """Whether another process may start."""
        return len(self._running) < self.size

    def start(self, job: Job, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        """Start the process of a job; signals are deferred, so that no process starts without being recorded."""
        with deferred():
            self._running.append((job, start()))

    def poll(self) -> None:
        """Wait a moment, then call `on_end` for each process that has ended, with signals deferred."""
        time.sleep(_POLL_EVERY if self._running else _POLL_IDLE)
        for each in [each for each in self._running if each[1].poll() is not None]:
            with deferred():
                self._running.remove(each)
                self._on_end(each[0], exit_code(each[1]))

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
        for _, process in self._running:
            if process.poll() is None:
                process.send_signal(number)
        for job, process in self._running:
            process.wait()
            if self._on_stop is not None:
                self._on_stop(job, exit_code(process))
