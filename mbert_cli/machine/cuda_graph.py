"""CUDA graphs: the GPU repeats many operations after one call of the CPU."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import capturing, packed, unpacked


def why_not_on(device: torch.device, kernels: str) -> str | None:
    """Return the reason why a device with these kernels does not use CUDA graphs; None if it does.

    Args:
        device: the device.
        kernels: `torch` or `fused`. With `torch`, the number of operations of attention depends on the texts' lengths.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return "CUDA graphs run on NVIDIA GPUs only"
    return None if kernels == "fused" else f"they need the fused kernels, and the kernels are {kernels}"


class CaptureError(Exception):
    """A function cannot be captured; the message is the reason. Nothing was computed."""


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
        self._lock = Lock()
        self._end = torch.cuda.Event()  # recorded at the end of the latest turn

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Enter a block that writes the inputs of a graph, replays it, and copies its results.

        Only one thread at a time is in such a block. Its operations on the GPU wait for those of earlier blocks,
        because threads may use different streams.
        """
        with self._lock:
            current = torch.cuda.current_stream(self._stream.device)
            current.wait_event(self._end)
            try:
                yield
            finally:
                self._end.record(current)

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
            CaptureError: an operation cannot be captured, or there is not enough memory.
        """
        token, handled = capturing.set(True), sys.exception()
        try:
            return self._record(function)
        except RuntimeError as error:
            raise CaptureError(_cause_of(error, handled)) from error
        finally:
            capturing.reset(token)

    def _record(self, function: Callable[[], None]) -> Callable[[], None]:
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._stream.device)
        # `set_stream` also makes the GPU of the stream the current one, and a program may use another one.
        with torch.cuda.device(self._stream.device):
            try:
                # Other threads, such as those of a notebook, may use the GPU during the capture.
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                    function()
            finally:
                torch.cuda.set_stream(current)  # if the end of a capture fails, PyTorch does not do this
        return graph.replay


class GraphInputs:
    """The arrays that a graph reads. They are in one buffer, so that each replay needs only one copy to the GPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffer: Tensor | None = None

    def fill(self, arrays: Sequence[np.ndarray]) -> None:
        """Copy arrays to the buffer. All calls have arrays of the same shapes and types."""
        on_host = torch.from_numpy(packed(arrays))
        if self._buffer is None:
            self._buffer = torch.empty(len(on_host), dtype=torch.int32, device=self._device)
        self._buffer.copy_(on_host.pin_memory() if self._device.type == "cuda" else on_host, non_blocking=True)

    def tensors(self, like: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the arrays as views of the buffer; `like` gives their shapes and types."""
        assert self._buffer is not None, "there is no buffer before the first call of `fill`"
        return unpacked(self._buffer, like)


def _cause_of(error: BaseException, handled: BaseException | None) -> str:
    """Return the first line of the first error. After a failed operation, the end of the capture raises another one.

    Args:
        error: the last error.
        handled: the error that the program was handling before; it is not a cause.
    """
    while error.__context__ is not None and error.__context__ is not handled:
        error = error.__context__
    return f"{type(error).__name__}: {error}".splitlines()[0]
