"""Signs of life: each process of a run shows that it is alive, and watches the others."""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

_EVERY = 2.0  # seconds
_STALE = 12.0  # seconds without a sign of life
_GRACE = 8.0  # seconds that a process has to end by itself after another was lost
_LEFT = "left"


def connect() -> Any:
    """Return a new connection with the store of the rendezvous. All methods raise RuntimeError if it is lost."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=_STALE))


def has_left(store: Any, rank: int) -> bool:
    """Whether a process has ended by itself."""
    key = _key(rank)
    return bool(store.check([key])) and store.get(key).decode() == _LEFT


def _key(rank: int) -> str:
    return f"mbert/alive/{rank}"


class Watchdog:
    """Ends all processes of a run if one of them hangs.

    A process that ends closes its connections, and the others notice it at once. A process that is stopped or whose
    machine does not answer keeps them. So a thread of each process writes a number to the store of the rendezvous every
    two seconds, and reads those of the others. If a number stays the same for 12 seconds, its process is killed if it
    runs on the same machine, and this process ends with the exit code of `LostProcessError`.

    Args:
        rank: number of this process.
        count: number of processes.
    """

    def __init__(self, rank: int, count: int) -> None:
        # An own connection: on a shared one, a process that waits would block its sign of life.
        self._store = connect()
        self._rank, self._others = rank, [other for other in range(count) if other != rank]
        self._seen: dict[int, tuple[str, float]] = {}
        self._ended = threading.Event()
        self._beat(0)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Tell the others that this process ends by itself."""
        self._ended.set()
        self._thread.join()
        with suppress(RuntimeError):
            self._store.set(_key(self._rank), _LEFT)

    def _beat(self, count: int) -> None:
        self._store.set(_key(self._rank), f"{socket.gethostname()} {os.getpid()} {count}")

    def _watch(self) -> None:
        count = 0
        while not self._ended.wait(_EVERY):
            count += 1
            try:
                self._beat(count)
                stale = [other for other in self._others if self._is_stale(other)]
            except RuntimeError:
                self._end("lost contact with the process that started this run")
                return
            for other in stale:
                self._end(self._kill(other))

    def _is_stale(self, other: int) -> bool:
        if not self._store.check([_key(other)]):
            return False  # it has not started yet
        sign, now = self._store.get(_key(other)).decode(), time.monotonic()
        before, since = self._seen.get(other, ("", now))
        if sign in (before, _LEFT):
            return sign != _LEFT and now - since > _STALE
        self._seen[other] = sign, now
        return False

    def _kill(self, other: int) -> str:
        """Kill a process if it runs on this machine; return what happened."""
        host, process, _ = self._seen[other][0].split()
        if host == socket.gethostname():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        return f"process {other} (pid {process} on {host}) gave no sign of life for {_STALE:.0f} seconds"

    def _end(self, problem: str) -> None:
        """End this process, unless it ends by itself because its connections are closed."""
        if self._ended.is_set():
            return
        from mbert_cli.errors import LostProcessError

        sys.stderr.write(f"process {self._rank}: {problem}.\n")
        sys.stderr.flush()
        if not self._ended.wait(_GRACE):
            os._exit(LostProcessError.exit_code)
