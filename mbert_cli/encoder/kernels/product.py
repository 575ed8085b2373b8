"""The matrix product of a linear layer, with weights kept in the precision of the computation."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mbert_cli.encoder.kernels.memory import empty_gradient, empty_rows


class Linear(nn.Linear):
    """A linear layer that keeps a copy of its weight in the precision of the computation.

    The parameters stay in fp32: the optimizer moves them, and they are what is saved. A copy is made anew only when the
    weight has changed: once a step in training, once in all in prediction.
    """

    _copy: Tensor | None = None
    _copied: tuple[int, int] = (-1, -1)

    def weight_in(self, dtype: torch.dtype) -> Float[Tensor, "out in"]:
        """Return the weight in a precision, without a graph; do not write to it."""
        weight = self.weight.detach()
        if weight.dtype == dtype:
            return weight
        state = (self.weight._version, self.weight.data_ptr())
        if self._copy is None or self._copied != state or self._copy.dtype != dtype:
            # Not an inference tensor, which a later training step could not use.
            with torch.inference_mode(False), torch.no_grad():
                if self._copy is None or self._copy.dtype != dtype or self._copy.device != weight.device:
                    self._copy = torch.empty_like(weight, dtype=dtype)
                # Into the same memory: new one in every step would lie scattered among the activations.
                self._copy.copy_(weight)
                self._copied = state
        return self._copy

    def __getstate__(self) -> dict[str, Any]:
        """Leave the copy out: what is pickled or deep-copied makes its own."""
        return {key: value for key, value in super().__getstate__().items() if key not in ("_copy", "_copied")}

    def product(self, x: Float[Tensor, "tokens in"]) -> Float[Tensor, "tokens out"]:
        """Return x W^T, without the bias, in the precision of x."""
        return cast(Tensor, _Product.apply(x, self.weight, self.weight_in(x.dtype)))


def weight_gradient(
    dy: Float[Tensor, "tokens out"], x: Float[Tensor, "tokens in"], dtype: torch.dtype
) -> Float[Tensor, "out in"]:
    """Return dy^T x, computed in their precision, in that of the weight."""
    shape = (dy.shape[1], x.shape[1])
    found = torch.mm(dy.t(), x, out=empty_gradient(x, shape, x.dtype))
    return found if found.dtype == dtype else empty_gradient(x, shape, dtype).copy_(found)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = weight.dtype
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, copy)
        return torch.mm(x, copy.t(), out=empty_rows(x, len(copy)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, copy = ctx.saved_tensors
        (dy,) = gradients
        dweight = weight_gradient(dy, x, ctx.dtype) if ctx.needs_input_grad[1] else None
        into = torch.mm(dy, copy, out=empty_rows(dy, copy.shape[1])) if ctx.needs_input_grad[0] else None
        return into, dweight, None
