"""Counts what the GPU does in a training step.

This file imports only the standard library, because it also runs in the peers' environments.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from workload import wait_for

_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")
"""Beginnings of the names of the calls by which a CPU gives a GPU work."""


class ProfiledSteps:
    """Steps, of which the last ones run under PyTorch's profiler if the device is a GPU.

    Args:
        steps: the steps.
        profiled: number of steps at the end that are profiled.
        device: `cpu` or `cuda`.
    """

    def __init__(self, steps: list[Any], profiled: int, device: str) -> None:
        self._steps, self._profiled, self._device = steps, profiled if device == "cuda" else 0, device
        self._events: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        if not self._profiled:
            yield from self._steps
            return
        from torch.profiler import ProfilerActivity, profile

        yield from self._steps[: -self._profiled]
        wait_for(self._device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            yield from self._steps[-self._profiled :]
            wait_for(self._device)
        self._events = profiler.events()

    def figures(self) -> dict[str, float]:
        """Return the numbers of `kernels` and `launches` and the busy time `gpu_ms` of a step; {} on a CPU."""
        if not self._profiled:
            return {}
        events = [(each.name, "CUDA" in str(each.device_type), each.time_range) for each in self._events]
        on_gpu = [(span.start, span.end) for _, on_gpu, span in events if on_gpu]
        launches = sum(name.startswith(_LAUNCHES) for name, on_gpu, _ in events if not on_gpu)
        return {
            "kernels": len(on_gpu) / self._profiled,
            "launches": launches / self._profiled,
            "gpu_ms": covered(on_gpu) / 1000 / self._profiled,
        }


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals, each given by its start and its end."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
