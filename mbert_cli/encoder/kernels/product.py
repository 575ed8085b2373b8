"""The matrix product of a linear layer, with weights kept in the precision of the computation."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.kernels.memory import empty_gradient, empty_rows


class _Copy:
    """A copy of a parameter in another precision, made anew only when the parameter has changed."""

    value: Tensor | None = None
    made_of: tuple[int, int] = (-1, -1)

    def outdated(self, parameter: Tensor, dtype: torch.dtype) -> bool:
        """Make memory for the copy where there is none; return whether its values must be copied."""
        if self.value is None or self.value.dtype != dtype or self.value.device != parameter.device:
            # Not an inference tensor, which a later training step could not use.
            with torch.inference_mode(False), torch.no_grad():
                self.value = torch.empty_like(parameter, dtype=dtype)
            return True
        return self.made_of != (parameter._version, parameter.data_ptr())

    def of(self, parameter: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the copy."""
        if self.outdated(parameter, dtype):
            renew([(self, parameter)])
        assert self.value is not None
        return self.value


def renew(outdated: Iterable[tuple[_Copy, Tensor]]) -> None:
    """Copy parameters into their copies: into the same memory; new one would lie scattered among the activations."""
    pairs = list(outdated)
    copies = [copy.value for copy, _ in pairs if copy.value is not None]
    if copies:
        with torch.inference_mode(False), torch.no_grad():
            torch._foreach_copy_(copies, [parameter.detach() for _, parameter in pairs])
    for copy, parameter in pairs:
        copy.made_of = (parameter._version, parameter.data_ptr())


class Linear(nn.Linear):
    """A linear layer that keeps copies of its parameters in the precision of the computation.

    The parameters stay in fp32: the optimizer moves them, and they are what is saved. A copy is made anew only when its
    parameter has changed: once a step in training, once in all in prediction.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self._copies = {"weight": _Copy(), "bias": _Copy()}

    def weight_in(self, dtype: torch.dtype) -> Float[Tensor, "out in"]:
        """Return the weight in a precision, without a graph; do not write to it."""
        return self._in(dtype, "weight", self.weight.detach())

    def bias_in(self, dtype: torch.dtype) -> Float[Tensor, " out"]:
        """Return the bias in a precision, without a graph; do not write to it."""
        return self._in(dtype, "bias", self.bias.detach())

    def _in(self, dtype: torch.dtype, name: str, parameter: Tensor) -> Tensor:
        return parameter if parameter.dtype == dtype else self._copies[name].of(parameter, dtype)

    def outdated(self, dtype: torch.dtype) -> list[tuple[_Copy, Tensor]]:
        """Return the copies that `renew` must make before the layer can compute in a precision."""
        if self.weight.dtype == dtype:
            return []
        own = ((self._copies["weight"], self.weight), (self._copies["bias"], self.bias))
        return [(copy, parameter) for copy, parameter in own if copy.outdated(parameter.detach(), dtype)]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the copies out: what is pickled or deep-copied makes its own."""
        return {**super().__getstate__(), "_copies": {"weight": _Copy(), "bias": _Copy()}}

    def affine(self, x: Float[Tensor, "tokens in"]) -> Float[Tensor, "tokens out"]:
        """Return x W^T + b, in the precision of x."""
        copies = self.weight_in(x.dtype), self.bias_in(x.dtype)
        return cast(Tensor, _Affine.apply(x, self.weight, self.bias, *copies))


def weight_gradient(
    dy: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], dtype: torch.dtype
) -> Float[Tensor, "out in"]:
    """Return dy^T x, computed in their precision, in that of the weight."""
    if dy.device.type == "cuda" and dy.dtype != dtype:
        return torch.mm(dy.t(), x, out_dtype=dtype)
    shape = (dy.shape[1], x.shape[1])
    found = torch.mm(dy.t(), x, out=empty_gradient(x, shape, x.dtype))
    return found if found.dtype == dtype else empty_gradient(x, shape, dtype).copy_(found)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, copy: Tensor, bias_copy: Tensor) -> Tensor:
        ctx.dtype = weight.dtype
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, copy)
        return torch.addmm(bias_copy, x, copy.t(), out=empty_rows(x, len(copy)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, copy = ctx.saved_tensors
        (dy,) = gradients
        dbias = dy.sum(0, dtype=ctx.dtype) if ctx.needs_input_grad[2] else None
        dx = torch.mm(dy, copy, out=empty_rows(dy, copy.shape[1])) if ctx.needs_input_grad[0] else None
        return dx, None if x is None else weight_gradient(dy, x, ctx.dtype), dbias, None, None
