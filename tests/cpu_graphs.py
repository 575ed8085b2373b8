"""A stand-in for CUDA graphs on a CPU.

A capture records every operation with its tensors and numbers; a replay runs the same operations on the same memory. As
on a GPU: numbers are frozen, a capture changes no memory that existed before, values that are computed in a capture do
not exist before the replay, and graphs overwrite each other's memory.
"""

import gc
from contextlib import contextmanager
from functools import partial
from threading import Lock

import gpu_waits
import plain_segments
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from mbert_cli.encoder.dropout import dropout, site_key
from mbert_cli.encoder.kernels import bottlenecks
from mbert_cli.encoder.kernels.bf16_products import matmul
from mbert_cli.encoder.padding import Rounding
from mbert_cli.machine.cuda_graph import CudaGraphs, why_not_on


class CpuGraphs(CudaGraphs):
    """Replaces `machine.cuda_graph.CudaGraphs`."""

    def __init__(self, device):  # not that of the base class, which needs a GPU
        self.captured = []
        self.replays = 0
        self._turn = Lock()

    def turn(self):
        """Return the lock of the threads."""
        return self._turn

    def warm_up(self, function):
        """Run a function."""
        function()

    def _record(self, function):
        recording = _Recording(_live_memory())
        waits = []
        with gpu_waits.Calls(waits), recording:
            function()
        recording.restore()
        if waits:
            raise RuntimeError(f"not permitted when stream is capturing: {waits[0]}")
        self.captured.append(recording)

        def replay():
            with _disable_current_modes():  # a mode that counts operations does not see those of a graph
                for each in self.captured:
                    each.spoil()
                recording.replay()
            self.replays += 1

        return replay


class _Recording(TorchDispatchMode):
    """Records operations.

    Args:
        live: the addresses of all memory that exists before the capture.
    """

    def __init__(self, live):
        super().__init__()
        self._live = live
        self._own = {}  # memory of the capture, by address
        self._before = {}  # contents of older memory that the capture writes, by address
        self._calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        parts = gpu_waits.parts_of(self, func, args, kwargs)
        if parts is not NotImplemented:
            return parts
        if gpu_waits.reads(func.overloadpacket.__name__, args, kwargs):
            raise RuntimeError(f"not permitted when stream is capturing: {func}")
        for tensor in _tensors((args, kwargs)):
            address = tensor.untyped_storage().data_ptr()
            if address and tensor.dim() and address not in self._live and address not in self._own:
                raise RuntimeError(f"{func} reads memory of the CPU")
        for tensor in _written(func, args, kwargs):
            self._save(tensor.untyped_storage())
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage.data_ptr() and storage.data_ptr() not in self._live:
                self._own[storage.data_ptr()] = storage
        self._calls.append((func, args, kwargs, result))
        return result

    @property
    def names(self):
        """The names of the operations."""
        return {func.overloadpacket.__name__ for func, *_ in self._calls}

    def _save(self, storage):
        if storage.data_ptr() in self._live and storage.data_ptr() not in self._before:
            self._before[storage.data_ptr()] = storage, storage.clone()

    def restore(self):
        """Undo what the capture wrote."""
        for storage, before in self._before.values():
            storage.copy_(before)
        self._before = {}

    def spoil(self):
        """Overwrite the memory of the capture."""
        for storage in self._own.values():
            storage.fill_(0xFF)  # NaN in fp32 and bf16, -1 in integers

    @torch.no_grad()
    def replay(self):
        """Run the operations again."""
        for func, args, kwargs, result in self._calls:
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(result), _tensors(again), strict=True):
                if new.untyped_storage().data_ptr() != old.untyped_storage().data_ptr():
                    old.copy_(new)


def _tensors(values):
    return [each for each in tree_leaves(values) if issubclass(type(each), torch.Tensor)]


def _written(func, args, kwargs):
    arguments = func._schema.arguments
    given = {argument.name: value for argument, value in zip(arguments, args, strict=False)} | kwargs
    names = [each.name for each in arguments if each.alias_info is not None and each.alias_info.is_write]
    return _tensors([given[name] for name in names if name in given])


def _live_memory():
    gc.unfreeze()  # a command that ran in this process has hidden older tensors
    objects = gc.get_objects()
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, torch.Tensor)}
    tensors = [each for each in objects if type(each) in kinds]
    return {_memory_of(each) for each in tensors if each.device.type == "cpu" and not each.is_sparse}


def _memory_of(tensor):
    try:
        return tensor.untyped_storage().data_ptr()
    except RuntimeError:  # an exporter of another test has left a tensor without memory
        return 0


def attend(qkv, layout, num_heads, dropout_p, prefixes=(), relative=None):
    """Attention whose shapes depend only on the number of tokens, as in the Triton kernels."""
    x = qkv.tensor()
    q, k, v = x.view(len(x), 3, num_heads, -1).permute(1, 2, 0, 3)
    first = layout.sentence_bounds[0]
    scores = matmul(q * q.shape[-1] ** -0.5, k.mT)
    weights = scores.masked_fill(first[:, None] != first, float("-inf")).softmax(-1)
    if dropout_p:
        rows = layout.rows * num_heads + torch.arange(num_heads)[:, None]
        weights = dropout(weights, dropout_p, rows, site_key(x.device))
    return matmul(weights, v).transpose(0, 1).reshape(len(x), -1)


@contextmanager
def _on_gpu():
    """Enter a block with the kernels, the padding and the late results of a GPU; yield the patcher."""
    with gpu_waits.reading_late(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbert_cli.training.step.is_static", lambda device: True)
        patch.setattr("mbert_cli.model.static_shapes.STATIC", Rounding(128, 4))  # less work
        patch.setattr("mbert_cli.encoder.kernels.plain.attend", attend)
        add_bottlenecks = partial(bottlenecks.add_bottlenecks, plain_segments)
        patch.setattr("mbert_cli.encoder.kernels.plain.add_bottlenecks", add_bottlenecks)
        for name in ("_LEAST", "_LEAST_BYTES"):  # a GPU does not use the pools of `memory`
            patch.setattr(f"mbert_cli.encoder.kernels.memory.{name}", 1 << 62)
        yield patch


def _why_not(device, kernels):
    on_gpu = {"torch": "fused", "fused": "torch"}  # the stand-in has the fused kernels of a GPU
    return why_not_on(torch.device("cuda"), on_gpu[kernels])


@contextmanager
def gpu_steps(graphs=True):
    """Enter a block whose steps run as on a GPU; with `graphs`, as CUDA graphs. Yield a list of the stand-ins."""
    made = []
    with _on_gpu() as patch:
        if graphs:
            patch.setattr("mbert_cli.training.why_no_graphs.why_not_on", _why_not)
            factory = lambda device: made.append(CpuGraphs(device)) or made[-1]  # noqa: E731
            patch.setattr("mbert_cli.training.step_graphs.CudaGraphs", factory)
        yield made


@contextmanager
def gpu_predictions():
    """Enter a block in which new objects of `Predictor` predict as on a GPU. Yield a list of the stand-ins."""
    made = []
    with _on_gpu() as patch:
        patch.setattr("mbert_cli.prediction.forward_graphs.why_not_on", _why_not)
        factory = lambda device: made.append(CpuGraphs(device)) or made[-1]  # noqa: E731
        patch.setattr("mbert_cli.prediction.forward_graphs.CudaGraphs", factory)
        yield made
