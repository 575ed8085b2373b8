"""The seam behind which there are two ways to compute what stands between the matrix products of an encoder layer.

`plain` is PyTorch's own operations, as the equations read: it runs anywhere, and is what the other is tested against.
`fused` does the same in few passes over memory, in loops that Numba compiles for this processor. A model says which
one it wants with `using`; each of the functions there takes what it is not made for to `plain` itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from mbert_cli.encoder.kernels import forks

Activation = Callable[[Tensor], Tensor]
_MODULES = {"torch": "plain", "fused": "fused", "padded": "padded"}
NAMES = ("torch", "fused")
"""Those that users choose among; `padded` is for exports."""
tell_of_compiling: Callable[[str], object] | None = None
"""Is told when loops must be compiled, which takes a while and happens once on a machine."""
_chosen: ContextVar[str] = ContextVar("kernels", default="torch")


@dataclass(frozen=True)
class Pending:
    """dropout(activation(value + bias)), not computed yet: what comes next may do it in the same pass.

    Args:
        value: what a linear layer made, say. Where there is a bias, nobody else holds it: it may be written to.
        bias: still to be added; None where it has been.
        activation: still to be applied; None where there is none, or it has been.
        dropout_p: probability of dropping a value; 0 outside training.
    """

    value: Float[Tensor, "tokens features"]
    bias: Float[Tensor, " features"] | None = None
    activation: Activation | None = None
    dropout_p: float = 0.0

    def activated(self, activation: Activation) -> "Pending":
        """Return this with an activation, which comes after the bias; no dropout may be pending."""
        return replace(self, activation=activation)

    def dropped(self, p: float) -> "Pending":
        """Return this with dropout, which comes after all that is pending."""
        return replace(self, dropout_p=p)

    def tensor(self) -> Float[Tensor, "tokens features"]:
        """Compute it."""
        if self.activation is not None:
            return replace(self, value=current().activate(self), bias=None, activation=None).tensor()
        if self.bias is None and self.dropout_p == 0:
            return self.value
        return current().add_dropout(self)


def current() -> ModuleType:
    """Return the functions in use: the module `plain` or `fused`."""
    return import_module(f"{__name__}.{_MODULES[_chosen.get()]}")


@contextmanager
def using(name: str) -> Iterator[None]:
    """Compute with the functions called `torch` or `fused` within a block; gradients then go the same way.

    In a forked process `fused` is `torch`; see `forks`.
    """
    is_forked = forks.settle()
    token = _chosen.set("torch" if name == "fused" and is_forked else name)
    try:
        yield
    finally:
        _chosen.reset(token)


def why_not_fused(device: torch.device) -> str | None:
    """Return why a device cannot compute with fused functions, or None where it can."""
    if device.type != "cpu":
        return f"they are for CPUs, and the device is {device.type}"
    if forks.settle():
        return "this process was forked from one that computed; start it with multiprocessing's spawn"
    return None if find_spec("numba") else "they need the package numba (pip install 'mbert-cli[fast]')"


def working_dtype(x: Tensor) -> torch.dtype:
    """Return the precision that matrix products are computed in: autocast's, or where there is none that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
