"""Initial values of parameters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

INIT_STD = 0.02  # BERT's initializer range


def drawn(*size: int) -> torch.Tensor:
    """Return random values from N(0, .02)."""
    return nn.init.normal_(torch.empty(*size), std=INIT_STD)


def initialise(module: nn.Module) -> None:
    """Set BERT's initial values: N(0, .02) for matrices, 0 for biases, 1 and 0 for LayerNorm."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=INIT_STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=INIT_STD)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def start_projections(down: nn.Linear, up: nn.Linear, init_std: float) -> None:
    """Initialise a bottleneck. `up` is zero (or N(0, init_std)), so that V_D f(V_E x) starts at zero.

    Args:
        down: V_E, which gets random values like BERT's matrices.
        up: V_D.
        init_std: standard deviation of V_D's initial values.
    """
    initialise(down)
    nn.init.normal_(up.weight, std=init_std) if init_std else nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)


def start_identity(layer: nn.Linear) -> None:
    """Initialise a square layer to the identity."""
    with torch.no_grad():
        layer.weight.zero_().fill_diagonal_(1)
        layer.bias.zero_()


class _NothingDrawn(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Create modules on the meta device, without values and memory, and skip `nn.init`.

    With the meta device alone, PyTorch would still run `nn.init` and import its compiler for it, which takes a second.
    """
    with torch.device("meta"), _NothingDrawn():
        yield
