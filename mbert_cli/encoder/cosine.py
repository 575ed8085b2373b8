"""The cosine of pairs of vectors, with its derivative in few operations."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_MIN_NORM = 1e-8  # minimum norm of a vector, as in PyTorch's cosine_similarity


def cosines(both: Float[Tensor, "two_pairs features"]) -> Float[Tensor, " pairs"]:
    """Return cos(u_i, v_i) for the rows of [u; v]. Equals `nn.functional.cosine_similarity(u, v)`."""
    return cast(Tensor, _Cosines.apply(both))


class _Cosines(torch.autograd.Function):
    """With a = u / |u| and b = v / |v|, the derivative of c = a . b by u is (b - c a) / |u|."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        x = both.view(2, -1, both.shape[-1])
        norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_(min=_MIN_NORM)
        units = x / norms
        result = (units[0] * units[1]).sum(-1)
        ctx.save_for_backward(units, norms, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        units, norms, result = ctx.saved_tensors
        tangent = torch.addcmul(units.flip(0), units, result[:, None], value=-1)
        return tangent.mul_(gradients[0][:, None] / norms).flatten(0, 1)
