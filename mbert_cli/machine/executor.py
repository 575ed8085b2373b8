"""Executor: where the training runs of a sweep are computed.

Must not import torch: fast start-up.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from mbert_cli.machine.process_pool import Process


@runtime_checkable
class Executor(Protocol):
    """Starts training runs, on this machine or on others."""

    @property
    def size(self) -> int:
        """Maximum number of runs at the same time."""

    @property
    def threads(self) -> int | None:
        """Number of threads of a new run; None for PyTorch's default."""

    def device_of(self, slot: int) -> str:
        """Return the value of `--device` for the run in a slot; see `ProcessPool`."""

    def start(self, words: Sequence[str], threads: int | None, log: Path) -> Process:
        """Start a training run.

        Args:
            words: words of its command line, starting with `train`.
            threads: number of threads; None for PyTorch's default.
            log: a file to which the command and its output are appended.

        Raises:
            ResourceError: the disk is full.
        """
