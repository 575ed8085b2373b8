"""Times training steps, and counts what a GPU does in them.

This file imports only the standard library, because it also runs in the peers' environments.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from workload import wait_for

_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")
"""Beginnings of the names of the calls by which a CPU gives a GPU work."""


class WatchedSteps:
    """The steps of a contender: warm-up steps, timed ones and, on a GPU, profiled ones.

    The timed steps are timed together: only before the first and after the last one is the device waited for. So a
    contender that gives a GPU the next step early is not slowed down.

    Args:
        steps: all steps.
        settings: `warm_up` and `steps`, the numbers of the steps that are not timed and of those that are; `profiled`,
            the number of steps after these that run in PyTorch's profiler, which needs a GPU; and the `device`.
    """

    def __init__(self, steps: list[Any], settings: Mapping[str, Any]) -> None:
        end = settings["warm_up"] + settings["steps"]
        self._warm_up, self._timed, self._last = (
            steps[: settings["warm_up"]],
            steps[settings["warm_up"] : end],
            steps[end:],
        )
        self._device = settings["device"]
        self._seconds = 0.0
        self._events: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        yield from self._warm_up
        wait_for(self._device)
        start = time.perf_counter()
        yield from self._timed
        wait_for(self._device)
        self._seconds = (time.perf_counter() - start) / len(self._timed)
        if self._device != "cuda":
            yield from self._last
        elif self._last:
            from torch.profiler import ProfilerActivity, profile

            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
                yield from self._last
                wait_for(self._device)
            self._events = profiler.events()

    def figures(self) -> dict[str, float]:
        """Return `seconds_per_step` of the timed steps.

        On a GPU also the numbers of `kernels` and `launches`, and the busy time `gpu_ms`, of a profiled step.
        """
        found = {"seconds_per_step": self._seconds}
        return found | self._on_gpu() if self._device == "cuda" and self._last else found

    def _on_gpu(self) -> dict[str, float]:
        count = len(self._last)
        events = [(each.name, "CUDA" in str(each.device_type), each.time_range) for each in self._events]
        on_gpu = [(span.start, span.end) for _, on_gpu, span in events if on_gpu]
        launches = sum(name.startswith(_LAUNCHES) for name, on_gpu, _ in events if not on_gpu)
        return {
            "kernels": len(on_gpu) / count,
            "launches": launches / count,
            "gpu_ms": covered(on_gpu) / 1000 / count,
        }


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals, each given by its start and its end."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
