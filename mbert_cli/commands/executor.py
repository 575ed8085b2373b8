"""What starts the training runs of a sweep: processes of this machine, or tasks on a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mbert_cli.errors import UsageError, counted
from mbert_cli.terminal.console import Console

if TYPE_CHECKING:
    from mbert_cli.machine.executor import Executor
    from mbert_cli.sweeps.run import Options


def check_engine(engine: str, address: str | None) -> None:
    """Check --engine and --address.

    Raises:
        UsageError: Ray is not installed, or --address is used without --engine ray.
    """
    from mbert_cli.ray.cluster import check_ray

    if engine == "ray":
        check_ray()
    elif address is not None:
        raise UsageError("--address needs --engine ray.")


def check_hardware(engine: str, options: "Options") -> None:
    """Report an error in the options once, not for every run."""
    from mbert_cli.machine.hardware import check_names, choose

    if engine == "ray":
        check_names(options.precision, options.kernels)  # other machines may have other devices and kernels
    else:
        choose(options.device, options.precision, options.kernels)


@contextmanager
def executor_of(
    engine: str, address: str | None, jobs: int | None, device: str, console: Console
) -> "Iterator[Executor]":
    """Connect with the cluster, if there is one, while the block runs; yield what starts the training runs."""
    if engine == "local":
        from mbert_cli.machine.local_executor import LocalExecutor

        yield LocalExecutor(jobs or 1, device)
        return
    from mbert_cli.ray.cluster import connected, share_out
    from mbert_cli.ray.executor import RayExecutor

    with connected(address):
        workers = share_out(jobs, device, "--jobs")
        each = f"{counted(workers.cpus, 'CPU')}{' and one GPU' if workers.gpus else ''}"
        console.info(f"Ray: {counted(workers.count, 'run')} at the same time, each with {each}")
        yield RayExecutor(workers)
