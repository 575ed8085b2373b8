"""LocalExecutor: training runs in child processes of this one."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from mbert_cli.machine.child_process import start, threads_each


class LocalExecutor:
    """An `Executor` whose runs share the cores and the GPUs of this machine.

    Args:
        size: maximum number of runs at the same time.
        device: value of `--device` of the sweep.
    """

    def __init__(self, size: int, device: str) -> None:
        self.size = size
        self.threads = threads_each(size)
        self._device = device

    def device_of(self, slot: int) -> str:
        """See `Executor.device_of`."""
        from mbert_cli.machine.hardware import gpu_in_turn  # imports torch, which a finished sweep does not need

        return gpu_in_turn(self._device, slot)

    def start(self, words: Sequence[str], threads: int | None, log: Path) -> subprocess.Popen[bytes]:
        """See `Executor.start`."""
        return start(words, threads, log)
