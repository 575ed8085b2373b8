"""The activations of the feed-forward sublayer and their derivatives. Some include the matrix product that follows."""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mbert_cli.encoder.kernels import Gated, Pending
from mbert_cli.encoder.kernels.bf16_products import mm
from mbert_cli.encoder.kernels.gate_loops import GELU, ROUGH_GELU, SILU, add_gate, add_gate_backward
from mbert_cli.encoder.kernels.gelu_loops import add_gelu, add_gelu_backward, add_gelu_roughly
from mbert_cli.encoder.kernels.lanes import WIDTH
from mbert_cli.encoder.kernels.memory import empty_rows
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.kernels.views import CHUNKS, flat, flat_like, summed, sums
from mbert_cli.encoder.kernels.weight_gradient import weight_gradient


def gelu(z: Float[Tensor, "tokens features"], bias: Float[Tensor, " features"]) -> Float[Tensor, "tokens features"]:
    """Return GELU(z + bias)."""
    return cast(Tensor, _AddGelu.apply(z, bias, torch.is_grad_enabled()))


def gelu_product(
    z: Float[Tensor, "tokens features"], bias: Float[Tensor, " features"], layer: Linear
) -> Float[Tensor, "tokens out"]:
    """Return GELU(z + bias) W^T, where W is the weight of a layer."""
    return cast(Tensor, _GeluProduct.apply(z, bias, layer.weight, layer.weight_in(z.dtype)))


def gate(
    z: Float[Tensor, "tokens features"], bias: Float[Tensor, " features"] | None, kind: int
) -> Float[Tensor, "tokens half"]:
    """Return the gated activation of z + bias; `kind` is that of `gate_loops.add_gate`."""
    return cast(Tensor, _AddGate.apply(z.contiguous(), bias, kind))


def gated_product(
    z: Float[Tensor, "tokens features"], bias: Float[Tensor, " features"] | None, kind: int, layer: Linear
) -> Float[Tensor, "tokens out"]:
    """Return the product of the gated activation of z + bias and W^T, where W is the weight of a layer."""
    return cast(Tensor, _GatedProduct.apply(z.contiguous(), bias, layer.weight, layer.weight_in(z.dtype), kind))


def gate_of(pending: Pending) -> int | None:
    """Return the function of a gated activation that the loops support; None if they do not."""
    gate = pending.activation
    if not isinstance(gate, Gated) or pending.dropout_p or pending.value.shape[-1] % (2 * WIDTH):
        return None
    return {nn.functional.gelu: GELU, nn.functional.silu: SILU}.get(gate.activation)


def has_gelu(pending: Pending) -> bool:
    """Return whether the activation is GELU, without dropout."""
    return pending.activation is nn.functional.gelu and not pending.dropout_p


def _write_gelu(z: Tensor, bias: Tensor, y: Tensor) -> None:
    """Write y = GELU(z + bias), to the precision of the data type of y."""
    write = add_gelu_roughly if y.dtype == torch.bfloat16 else add_gelu
    write(flat(z), flat(bias), CHUNKS, flat(y))


class _AddGelu(torch.autograd.Function):
    """GELU(z + bias)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor, graph: bool) -> Tensor:
        ctx.save_for_backward(z, bias)
        y = empty_rows(z) if graph and any(ctx.needs_input_grad) else z
        _write_gelu(z, bias, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        z, bias = ctx.saved_tensors
        dy = gradients[0].contiguous()
        dz, dbias = empty_rows(z), sums(ctx.needs_input_grad[1], len(bias))
        add_gelu_backward(flat(dy), flat(z), flat(bias), CHUNKS, flat(dz), dbias, flat_like(None, z))
        return dz, summed(dbias), None


class _GeluProduct(torch.autograd.Function):
    """GELU(z + bias) W^T. GELU(z + bias), the largest matrix of a layer, is not saved but computed again."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor, weight: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = weight.dtype
        ctx.save_for_backward(z, bias, copy)
        y = empty_rows(z) if any(ctx.needs_input_grad) else z
        _write_gelu(z, bias, y)
        return mm(y, copy.t(), out=empty_rows(y, len(copy)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        z, bias, copy = ctx.saved_tensors
        dout = gradients[0].contiguous()
        trains = ctx.needs_input_grad[2]
        dy = mm(dout, copy, out=empty_rows(dout, copy.shape[1]))
        y, dbias = empty_rows(z) if trains else None, sums(ctx.needs_input_grad[1], len(bias))
        add_gelu_backward(flat(dy), flat(z), flat(bias), CHUNKS, flat(dy), dbias, flat_like(y, z))
        return dy, summed(dbias), None if y is None else weight_gradient(dout, y, ctx.dtype), None


def _write_gate(z: Tensor, bias: Tensor | None, kind: int, y: Tensor) -> None:
    """Write the gated activation of z + bias, to the precision of the data type of y."""
    kind = ROUGH_GELU if kind == GELU and y.dtype == torch.bfloat16 else kind
    add_gate(flat(z), flat(bias), kind, y.shape[1], CHUNKS, flat(y))


def _write_gate_backward(
    dy: Tensor, z: Tensor, bias: Tensor | None, kind: int, dbias: np.ndarray, y: Tensor | None
) -> Tensor:
    """Return the derivative of z; write that of the bias, and the gated activation again."""
    dz = empty_rows(z)
    add_gate_backward(flat(dy), flat(z), flat(bias), kind, dy.shape[1], CHUNKS, flat(dz), dbias, flat_like(y, z))
    return dz


class _AddGate(torch.autograd.Function):
    """The gated activation of z + bias."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor | None, kind: int) -> Tensor:
        ctx.kind = kind
        ctx.save_for_backward(z, bias)
        y = empty_rows(z, z.shape[1] // 2)
        _write_gate(z, bias, kind, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        z, bias = ctx.saved_tensors
        dbias = sums(ctx.needs_input_grad[1], z.shape[1])
        return _write_gate_backward(gradients[0].contiguous(), z, bias, ctx.kind, dbias, None), summed(dbias), None


class _GatedProduct(torch.autograd.Function):
    """The product of a gated activation and W^T. The activation is not saved but computed again."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor | None, weight: Tensor, copy: Tensor, kind: int) -> Tensor:
        ctx.dtype, ctx.kind = weight.dtype, kind
        ctx.save_for_backward(z, bias, copy)
        y = empty_rows(z, z.shape[1] // 2)
        _write_gate(z, bias, kind, y)
        return mm(y, copy.t(), out=empty_rows(y, len(copy)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        z, bias, copy = ctx.saved_tensors
        dout = gradients[0].contiguous()
        dy = mm(dout, copy, out=empty_rows(dout, copy.shape[1]))
        y = empty_rows(dy) if ctx.needs_input_grad[2] else None
        dbias = sums(ctx.needs_input_grad[1], z.shape[1])
        dz = _write_gate_backward(dy, z, bias, ctx.kind, dbias, y)
        return dz, summed(dbias), None if y is None else weight_gradient(dout, y, ctx.dtype), None, None
