"""CUDA graphs: the GPU repeats many operations after one call of the CPU."""

from collections.abc import Callable

import torch


def why_not_on(device: torch.device, kernels: str) -> str | None:
    """Return the reason why steps on a device with these kernels cannot be captured; None if they can.

    Args:
        device: the device.
        kernels: `torch` or `fused`. With `torch`, the number of blocks of attention depends on the texts' lengths.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return "CUDA graphs run on NVIDIA GPUs only"
    return None if kernels == "fused" else f"they need the fused kernels, and the kernels are {kernels}"


class CudaGraphs:
    """Captures functions as CUDA graphs on one side stream.

    All graphs share one pool of memory. So the results of a graph are valid only until another graph is replayed.

    Source: PyTorch's documentation, "CUDA semantics", section "CUDA Graphs".

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function: Callable[[], None]) -> None:
        """Run a function on the side stream.

        A function must run once before `capture`: the first run compiles kernels, allocates workspaces of libraries,
        and creates the state of the optimizer.
        """
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function()
        current.wait_stream(self._stream)

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Record the operations of a function; return a function that runs them.

        The GPU runs nothing during the capture. A replay reads and writes the same memory as the capture. Python
        numbers keep the values that they have during the capture.

        Raises:
            RuntimeError: an operation cannot be captured, or memory is short.
        """
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._stream.device)
        try:
            # Other threads, such as those of a notebook, may use the GPU during the capture.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                function()
        finally:
            torch.cuda.set_stream(current)  # if the end of a capture fails, PyTorch does not do this
        return graph.replay
