"""The operations for which the CPU would wait for a GPU, found on a CPU."""

import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import mbert_cli

_PACKAGE = str(Path(mbert_cli.__file__).parent)
_READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive")
_TO_HOST = (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu)
_FROM_HOST = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor, torch.Tensor.cuda)


class Event:
    """Stands in for `torch.cuda.Event`."""

    def record(self):
        """Do nothing."""

    def synchronize(self):
        """Do nothing."""


class Calls(TorchFunctionMode):
    """Records functions that copy values from or to a GPU and wait, by the line in mbert that calls them."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        copies = func is torch.Tensor.to and not kwargs.get("non_blocking", False) and _names_a_device(args, kwargs)
        if copies or func in _TO_HOST or func in _FROM_HOST:
            _record(self.found, func.__name__)
        return func(*args, **kwargs)


class Operations(TorchDispatchMode):
    """Records operations whose result, or its shape, the CPU must know."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        parts = parts_of(self, func, args, kwargs)
        if parts is not NotImplemented:
            return parts
        if reads(func.overloadpacket.__name__, args, kwargs):
            _record(self.found, str(func))
        return func(*args, **kwargs)


def parts_of(mode, operation, args, kwargs):
    """Call an operation that PyTorch composes of others, so that `mode` sees those; NotImplemented if it is not one.

    In inference mode, PyTorch does not do this by itself.
    """
    with mode:
        return operation.decompose(*args, **kwargs)


def reads(name, args, kwargs):
    if name == "segment_reduce":
        return not kwargs.get("unsafe", False)  # it checks the lengths
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in ("index", "index_put", "index_put_", "_unsafe_index_put"):
        return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    return name in _READS


def _names_a_device(args, kwargs):
    return any(isinstance(each, (torch.device, str)) for each in (*args[1:], *kwargs.values()))


def _record(found, name):
    places = [each for each in traceback.extract_stack() if each.filename != __file__]
    of_mbert = [each for each in places if each.filename.startswith(_PACKAGE)]
    # `to_device` copies through pinned memory. PyTorch's own calls of `to` stay on the device.
    if of_mbert and (name != "to" or (places[-1] is of_mbert[-1] and places[-1].name != "to_device")):
        found.append(f"{name} in {Path(of_mbert[-1].filename).name}:{of_mbert[-1].lineno}")


@contextmanager
def reading_late():
    """Enter a block whose steps read their results late, as on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbert_cli.training.step_results._reads_late", lambda device: True)
        patch.setattr(torch.cuda, "Event", Event)
        yield


@contextmanager
def gpu_waits():
    """Enter a block as `reading_late`; yield a list of the waits in it."""
    found = []
    with reading_late(), Operations(found), Calls(found):
        yield found
