"""Interchangeable implementations of the operations between the matrix products of an encoder layer.

`plain` follows the equations with PyTorch operations. It runs on every device and is the reference in tests. `fused`
computes the same in few passes over memory, in loops that Numba compiles for this processor. A model selects one with
`using`. The functions of `fused` fall back to `plain` for inputs that they do not support.
"""

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.encoder.kernels import forks

Activation = Callable[[Tensor], Tensor]
_MODULES = {"torch": "plain", "fused": "fused", "padded": "padded", "triton": "triton.fused"}
NAMES = ("torch", "fused")
"""The implementations that users can choose; `padded` is for exports, and `triton` is `fused` on a GPU."""
_chosen: ContextVar[str] = ContextVar("kernels", default="torch")


@dataclass(frozen=True)
class Gated:
    """The activation of a gated feed-forward sublayer: f(a) * b for features [a; b], two halves.

    Source: Shazeer 2020 (GLU variants), equation 5.

    Args:
        activation: f.
    """

    activation: Activation

    def __call__(self, x: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens half"]:
        """Return f(a) * b."""
        a, b = x.chunk(2, -1)
        return self.activation(a) * b


@dataclass(frozen=True)
class Pending:
    """dropout(activation(value + bias)), not computed yet, so that the next operation can compute it in the same pass.

    Args:
        value: for example the output of a linear layer. If there is a bias, no other object uses this tensor, so it may
            be overwritten.
        bias: a bias still to add; None if there is none.
        activation: an activation still to apply; None if there is none.
        dropout_p: probability of dropping a value; 0 outside training.
    """

    value: Float[Tensor, "tokens features"]
    bias: Float[Tensor, " features"] | None = None
    activation: Activation | None = None
    dropout_p: float = 0.0

    def activated(self, activation: Activation) -> "Pending":
        """Add a pending activation, applied after the bias; there must be no pending dropout."""
        return replace(self, activation=activation)

    def dropped(self, p: float) -> "Pending":
        """Add pending dropout, applied last."""
        return replace(self, dropout_p=p)

    def tensor(self) -> Float[Tensor, "tokens features"]:
        """Compute the tensor."""
        if self.activation is not None:
            return replace(self, value=current().activate(self), bias=None, activation=None).tensor()
        if self.bias is None and self.dropout_p == 0:
            return self.value
        return current().add_dropout(self)


def current() -> ModuleType:
    """Return the selected module: `plain`, `fused` or `padded`."""
    return _imported(_chosen.get())


@cache
def _imported(name: str) -> ModuleType:
    return import_module(f"{__name__}.{_MODULES[name]}")


@contextmanager
def using(name: str, device: torch.device | None = None) -> Iterator[None]:
    """Select kernels within a block; the backward pass then uses the same implementation.

    In a forked process, `fused` selects `torch`; see `forks`.

    Args:
        name: `torch`, `fused`, `padded` or `triton`.
        device: device of the tensors; by default the CPU. On a GPU, `fused` selects `triton`, and the GPU becomes the
            current one: Triton launches kernels on that.
    """
    is_forked = forks.settle()
    on_gpu = device is not None and device.type == "cuda"
    if name == "fused":
        name = "triton" if on_gpu else "torch" if is_forked else "fused"
    token = _chosen.set(name)
    try:
        with torch.cuda.device(device) if on_gpu and name == "triton" else nullcontext():
            yield
    finally:
        _chosen.reset(token)


def why_not_fused(device: torch.device) -> str | None:
    """Return the reason why fused kernels cannot run on a device, or None if they can."""
    if device.type == "cuda":
        return _why_not_triton(device)
    if device.type != "cpu":
        return f"they run on CPUs and NVIDIA GPUs only, and the device is {device.type}"
    if forks.settle():
        return "this process was forked from one that computed; start it with multiprocessing's spawn"
    return None if find_spec("numba") else "they need the package numba (pip install 'mbert-cli[fast]')"


def _why_not_triton(device: torch.device) -> str | None:
    """Return the reason why Triton's kernels cannot run on a GPU, or None if they can."""
    if torch.version.hip is not None:
        return "they run on CPUs and NVIDIA GPUs only, and this PyTorch is for AMD GPUs"
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        return f"they need a GPU with compute capability 8.0 or higher, and this one has {major}.{minor}"
    if not find_spec("triton"):
        return "they need the package triton, which PyTorch's CUDA wheels for Linux install"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton needs a C compiler; install gcc, or set CC"
    if not os.path.isfile(f"{sysconfig.get_paths()['include']}/Python.h"):
        return "Triton needs the header files of Python; install python3-dev"
    return None


def working_dtype(x: Tensor) -> torch.dtype:
    """Return the data type of matrix products: that of autocast if it is enabled, otherwise that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
