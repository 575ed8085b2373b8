"""The matrix product of a linear layer, with copies of the weights in the data type of the computation."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.kernels import bf16_products
from mbert_cli.encoder.kernels.memory import empty_gradient, empty_rows


class Copy:
    """A copy of a parameter in another data type, updated only after the parameter changes."""

    def __init__(self, value: Tensor | None = None) -> None:
        self.value = value
        self.made_of = (-1, -1)

    def outdated(self, parameter: Tensor, dtype: torch.dtype) -> bool:
        """Allocate the copy if necessary; return whether its values must be copied."""
        if self.value is None or self.value.dtype != dtype or self.value.device != parameter.device:
            # Not an inference tensor: a later training step could not use it.
            with torch.inference_mode(False), torch.no_grad():
                self.value = torch.empty_like(parameter, dtype=dtype)
            return True
        return self.made_of != (parameter._version, parameter.data_ptr())

    def of(self, parameter: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the up-to-date copy."""
        if self.outdated(parameter, dtype):
            renew([(self, parameter)])
        assert self.value is not None
        return self.value


Copies = list[tuple[Copy, Tensor]]
"""Copies of parameters, each with its parameter."""


def renew(outdated: Iterable[tuple[Copy, Tensor]]) -> Copies:
    """Update outdated copies in place; return them. New memory would be scattered among the activations."""
    pairs = list(outdated)
    copies = [copy.value for copy, _ in pairs if copy.value is not None]
    if copies:
        with torch.inference_mode(False), torch.no_grad():
            torch._foreach_copy_(copies, [parameter.detach() for _, parameter in pairs])
    mark_renewed(pairs)
    return pairs


def mark_renewed(copies: Copies) -> None:
    """Mark copies as up to date, after `renew` or a CUDA graph has updated them."""
    for copy, parameter in copies:
        copy.made_of = (parameter._version, parameter.data_ptr())


class Linear(nn.Linear):
    """A linear layer that keeps copies of its parameters in the data type of the computation.

    The parameters stay in fp32; the optimizer updates them, and checkpoints contain them. A copy is updated only after
    its parameter changes: once per step in training, only once in prediction.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self._copies: Mapping[str, Copy] = {"weight": Copy(), "bias": Copy()}
        self.stacks: dict[tuple[nn.Module, ...], Any] = {}  # see `stacks.stack_of`

    def weight_in(self, dtype: torch.dtype) -> Float[Tensor, "out in"]:
        """Return the weight in a data type, detached; do not write to it."""
        return self._in(dtype, "weight", self.weight.detach())

    def bias_in(self, dtype: torch.dtype) -> Float[Tensor, " out"] | None:
        """Return the bias in a data type, detached; do not write to it. None if there is none."""
        return None if self.bias is None else self._in(dtype, "bias", self.bias.detach())

    def _in(self, dtype: torch.dtype, name: str, parameter: Tensor) -> Tensor:
        return parameter if parameter.dtype == dtype else self._copies[name].of(parameter, dtype)

    def outdated(self, dtype: torch.dtype) -> list[tuple[Copy, Tensor]]:
        """Return the copies that `renew` must update before the layer can compute in a data type."""
        if self.weight.dtype == dtype:
            return []
        pairs = ((self._copies[name], parameter) for name, parameter in self.named_parameters())
        return [(copy, parameter) for copy, parameter in pairs if copy.outdated(parameter.detach(), dtype)]

    @property
    def copies(self) -> Mapping[str, Copy]:
        """The copies in use, by the names of the parameters."""
        return self._copies

    def use(self, copies: Mapping[str, Copy]) -> None:
        """Use these copies from now on. `renew` writes their values."""
        self._copies = copies

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copies; a pickled or deep-copied layer makes new ones."""
        return {**super().__getstate__(), "_copies": {"weight": Copy(), "bias": Copy()}, "stacks": {}}

    def affine(self, x: Float[Tensor, "tokens in"]) -> Float[Tensor, "tokens out"]:
        """Return x W^T + b, in the data type of x."""
        copies = self.weight_in(x.dtype), self.bias_in(x.dtype)
        return cast(Tensor, _Affine.apply(x, self.weight, self.bias, *copies))

    def product(self, x: Float[Tensor, "tokens in"]) -> Float[Tensor, "tokens out"]:
        """Return x W^T, in the data type of x."""
        return cast(Tensor, _Affine.apply(x, self.weight, None, self.weight_in(x.dtype), None))


def weight_gradient(
    dy: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], dtype: torch.dtype
) -> Float[Tensor, "out in"]:
    """Return dy^T x in the data type `dtype` of the weight, computed in the data type of dy and x."""
    if dy.device.type == "cuda" and dy.dtype != dtype:
        return torch.mm(dy.t(), x, out_dtype=dtype)
    shape = (dy.shape[1], x.shape[1])
    gradient = bf16_products.mm(dy.t(), x, out=empty_gradient(x, shape, x.dtype))
    return gradient if gradient.dtype == dtype else empty_gradient(x, shape, dtype).copy_(gradient)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, copy: Tensor, bias_copy: Tensor | None
    ) -> Tensor:
        ctx.dtype = weight.dtype
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, copy)
        y = empty_rows(x, len(copy))
        return bf16_products.mm(x, copy.t(), y) if bias_copy is None else bf16_products.addmm(bias_copy, x, copy.t(), y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, copy = ctx.saved_tensors
        (dy,) = gradients
        dbias = dy.sum(0, dtype=ctx.dtype) if ctx.needs_input_grad[2] else None
        dx = bf16_products.mm(dy, copy, out=empty_rows(dy, copy.shape[1])) if ctx.needs_input_grad[0] else None
        return dx, None if x is None else weight_gradient(dy, x, ctx.dtype), dbias, None, None
