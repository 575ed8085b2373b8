"""`--devices`: starts several processes of a command on this machine, as torchrun does.

Must not import torch before `launch`: fast start-up.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from uuid import uuid4

from mbert_cli.errors import LostProcessError, PeerFailedError, Stopped, UsageError
from mbert_cli.machine.child_process import MBERT, threads_each

RESUME = "run the command again with --resume"
"""What the user does if a training process is lost."""


def is_one_of_many() -> bool:
    """Whether torchrun, or `launch`, has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def parse_devices(value: str) -> tuple[int, str | None]:
    """Return the number of processes, and the indices of their GPUs if these are given.

    Args:
        value: a number of processes, or indices of GPUs, e.g. ``0,2,3``.

    Raises:
        UsageError: it is neither.
    """
    words = value.split(",")
    if not all(word.isascii() and word.isdigit() for word in words) or len(set(words)) < len(words):
        raise UsageError(f"--devices is '{value}'; give a number of processes, or indices of GPUs such as 0,2,3.")
    if len(words) > 1:
        return len(words), value
    if int(value) < 1:
        raise UsageError("--devices is 0, but must be at least 1.")
    return int(value), None


def check_alone(option: str) -> None:
    """Check that torchrun has not started this process as one of several.

    Args:
        option: an option that starts several processes, with its value if that matters.

    Raises:
        UsageError: it has.
    """
    if is_one_of_many():
        raise UsageError(f"{option} starts the processes itself; leave it out, or run mbert without torchrun.")


def launch(count: int, gpus: str | None, words: Sequence[str], remedy: str) -> None:
    """Run a command in several processes; return when all have succeeded.

    Args:
        count: number of processes.
        gpus: indices of their GPUs; None for all GPUs, or for CPUs.
        words: words of the command line, starting with `train`.
        remedy: what the user does if a process is lost.

    Raises:
        PeerFailedError: a process failed and has printed why.
        LostProcessError: a process was killed.
        Stopped: a signal stopped the processes.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # PyTorch's messages about processes that end; this function raises an error instead
    threads = threads_each(count)
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    try:
        # Without a folder for its logs, PyTorch makes one and leaves it behind.
        with TemporaryDirectory(prefix="mbert-") as logs:
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=count,
                run_id=uuid4().hex,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                max_restarts=0,
                monitor_interval=0.1,
                logs_specs=DefaultLogsSpecs(logs),
            )
            elastic_launch(config, MBERT[0])(*MBERT[1:], *words)
    except SignalException as error:
        raise Stopped(int(error.sigval), "") from None
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        raise failure_of(codes, error.get_first_failure()[0], remedy) from None


def failure_of(codes: Mapping[int, int], first: int, remedy: str) -> LostProcessError | PeerFailedError | Stopped:
    """Return the error of a run whose processes failed.

    Args:
        codes: exit codes of the processes that failed; negative for the number of the signal that killed one.
        first: the process that failed first.
        remedy: what the user does if a process is lost.
    """
    killed = {rank: -code for rank, code in codes.items() if code < 0}
    if killed and (codes[first] < 0 or codes[first] == LostProcessError.exit_code):
        rank = first if first in killed else min(killed)
        name = signal.Signals(killed[rank]).name
        return LostProcessError(f"process {rank} was killed by {name}; {remedy}.")
    code = abs(codes[first])
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return Stopped(code - 128, "")
    return PeerFailedError(code)


def without_devices(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without the option `--devices` and its value."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == "--devices":
            skip = True
        elif not word.startswith("--devices="):
            kept.append(word)
    return kept


def own_words() -> list[str]:
    """Return the words of this command line without `--devices`."""
    return without_devices(sys.argv[1:])
