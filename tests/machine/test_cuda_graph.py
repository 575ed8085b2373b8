"""CUDA graphs in a program of a user, with stand-ins for functions of PyTorch; see also `test_forward_graphs`."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from mbert_cli.machine.cuda_graph import CaptureError, CudaGraphs

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs; the first one is the current one."""
    gpus = SimpleNamespace(current=FIRST)

    def stream_of(device):
        return SimpleNamespace(device=device)

    def set_stream(stream):
        gpus.current = stream.device

    @contextmanager
    def device(chosen):
        before, gpus.current = gpus.current, chosen
        try:
            yield
        finally:
            gpus.current = before

    @contextmanager
    def graph(*_, stream, **options):
        before, gpus.current = gpus.current, stream.device
        yield  # as in PyTorch, an error in the block leaves the stream as it is
        gpus.current = before

    for name, value in {
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
        "Event": object,
        "Stream": stream_of,
        "current_stream": stream_of,
        "device": device,
        "graph": graph,
        "graph_pool_handle": object,
        "set_stream": set_stream,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return gpus


def no_memory():
    raise RuntimeError("no memory")


@pytest.mark.parametrize("fails", [False, True])
def test_a_capture_leaves_the_current_gpu_as_it_is(gpus, fails):
    with pytest.raises(CaptureError) if fails else nullcontext():
        CudaGraphs(SECOND).capture(no_memory if fails else lambda: None)
    assert gpus.current == FIRST


def test_the_reason_of_a_failed_capture_is_not_an_error_that_the_program_handles(gpus):
    try:
        raise KeyError("of the program")
    except KeyError:
        with pytest.raises(CaptureError, match="^RuntimeError: no memory$"):
            CudaGraphs(FIRST).capture(no_memory)
