"""The connection with a Ray cluster, or a cluster of this machine alone.

Must not import torch: fast start-up.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from mbert_cli.errors import UsageError, counted


@dataclass(frozen=True)
class Workers:
    """The actors or tasks of a computation.

    Args:
        count: number of them at the same time.
        cpus: number of CPUs of each, which is also its number of threads.
        gpus: number of GPUs of each, 0 or 1.
    """

    count: int
    cpus: int
    gpus: int


def check_ray() -> None:
    """Check that Ray is installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise UsageError("--engine ray needs Ray Data; install it: pip install 'mbert-cli[ray]'.")


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect with a cluster while the block runs.

    Args:
        address: address of the cluster, or `auto`; None for that in the environment variable RAY_ADDRESS, otherwise a
            new cluster of this machine alone, which ends with the block.

    Raises:
        UsageError: there is no cluster at this address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # advice about Ray Data's own actors
    import ray

    place = address or os.environ.get("RAY_ADDRESS")
    # Without `local`, Ray connects with the newest cluster of this machine, which can belong to another program.
    target: dict[str, Any] = {"address": place} if place else {"address": "local", "include_dashboard": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _silent():
            ray.init(**target, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        if place is None:
            raise UsageError(
                f"--engine ray: Ray does not start on this machine ({reason}); leave the option out."
            ) from None
        raise UsageError(
            f"--address: no Ray cluster answers at '{place}' ({reason}); start one with `ray start --head`, or leave "
            "the option out to use this machine alone. A cluster with a token needs RAY_AUTH_MODE=token."
        ) from None
    for number, handler in handlers.items():
        signal.signal(number, handler)  # Ray has replaced them
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _silent() -> Iterator[None]:
    """Discard what Ray's C++ code writes to stderr while the block runs: which log level it uses, for example."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def share_out(count: int | None, device: str, option: str = "--workers") -> Workers:
    """Divide the CPUs and GPUs of the cluster among workers.

    Args:
        count: number of workers; None for one for each GPU, or without GPUs one for each machine.
        device: `auto`, `cpu` or `cuda`.
        option: the option that sets `count`.

    Raises:
        UsageError: the cluster has fewer CPUs or GPUs than workers.
    """
    import ray

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device is '{device}', but Ray chooses the GPU of each worker; use auto, cpu or cuda.")
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node.get("GPU", 0)) for node in nodes] if device != "cpu" else [0] * len(nodes)
    if device == "cuda" and not any(gpus):
        raise UsageError("--device is 'cuda', but the Ray cluster has no GPU; use auto or cpu.")
    own_gpus = gpus if any(gpus) else None
    most = _fitting(cpus, 1, own_gpus)
    default = most if own_gpus else sum(1 for own in cpus if own)
    wanted = count or max(1, default)
    if wanted > most:
        have = f"{counted(sum(gpus), 'GPU')} and {counted(sum(cpus), 'CPU')}" if own_gpus else counted(most, "CPU")
        if most == 0:
            raise UsageError(f"--engine ray: the Ray cluster has {have}, which is no room for a worker; add a machine.")
        raise UsageError(f"{option} is {wanted}, but the Ray cluster has {have}; use at most {most}.")
    return Workers(wanted, cpus_each(cpus, wanted, own_gpus), int(own_gpus is not None))


def cpus_each(machines: Sequence[int], workers: int, gpus: Sequence[int] | None = None) -> int:
    """Return the most CPUs that each worker can have so that all fit on the machines, which a worker never spans.

    Args:
        machines: number of CPUs of each machine.
        workers: number of workers.
        gpus: number of GPUs of each machine if each worker has one; None if workers have none.
    """
    fitting = (cpus for cpus in range(1, max(machines) + 1) if _fitting(machines, cpus, gpus) >= workers)
    return max(fitting, default=1)


def _fitting(machines: Sequence[int], cpus: int, gpus: Sequence[int] | None) -> int:
    """Return how many workers fit on the machines if each has some CPUs, and a GPU unless `gpus` is None."""
    most = gpus or machines
    return sum(min(own // cpus, limit) for own, limit in zip(machines, most, strict=True))
