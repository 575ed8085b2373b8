"""Computes the bottlenecks of all tasks of a packed batch in a few operations."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mbert_cli.encoder.kernels import Activation
from mbert_cli.encoder.kernels.bf16_products import grouped_mm
from mbert_cli.encoder.kernels.memory import empty_gradient
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.kernels.stacks import stack_of


class Segments(NamedTuple):
    """The segments at the beginning of a stream.

    Each replay of a CUDA graph reads new ends. The number of tokens is the same in all replays of a graph.

    Args:
        ends: index of the end of each segment; int32, on the device of the stream.
        tokens: number of tokens of all segments. The tokens after them belong to no task.
    """

    ends: Int[Tensor, " segments"]
    tokens: int


def add_bottlenecks(
    operations: ModuleType,
    x: Float[Tensor, "tokens hidden"],
    h: Float[Tensor, "tokens hidden"],
    pairs: Sequence[tuple[Linear, Linear]],
    activation: Activation | None,
    segments: Segments,
) -> Float[Tensor, "tokens hidden"] | None:
    """Return x + V_D f(V_E h), where each segment has its own V_E and V_D; None if this is not supported.

    Only training in bf16 is supported. Prediction computes each segment by itself.

    Args:
        operations: the module `segments`, or `triton.segments`.
        x: the values to change.
        h: the input of the bottlenecks.
        pairs: V_E and V_D of each segment.
        activation: f; None for the identity. Only GELU is supported.
        segments: the segments. Tokens after them keep their x.
    """
    layers = [layer for pair in pairs for layer in pair]
    sizes = {(down.weight.shape, up.weight.shape) for down, up in pairs}
    same_sizes, distinct = len(sizes) == 1, len(set(layers)) == len(layers)
    has_gelu = activation is nn.functional.gelu
    if not same_sizes or not distinct or not (activation is None or has_gelu) or not torch.is_grad_enabled():
        return None
    if {x.dtype, h.dtype} != {torch.bfloat16} or x.shape[1] % operations.MULTIPLE:
        return None
    down, up = (stack_of(own, x.dtype, operations.MULTIPLE) for own in zip(*pairs, strict=True))
    copies = down.weight, down.bias, up.weight, up.bias
    parameters = [
        getattr(layer, name) for own in zip(*pairs, strict=True) for name in ("weight", "bias") for layer in own
    ]
    result = _Bottlenecks.apply(operations, x.contiguous(), h.contiguous(), segments, has_gelu, *copies, *parameters)
    return cast(Tensor, result)


def product(x: Tensor, y: Tensor, ends: Tensor) -> Tensor:
    """Return x[rows of s] y[s] for each segment s, one below the other, if y has one matrix for each segment.

    If y is a single matrix, return x[:, columns of s] y[rows of s] for each segment s, stacked.

    Rows of the result that belong to no segment have undefined values. On a GPU, the numbers of columns must be
    multiples of 8, because each row must begin at a multiple of 16 bytes.
    """
    return grouped_mm(x, y, ends)


_BEFORE = 9  # number of arguments of `_Bottlenecks.forward` before the parameters


class _Bottlenecks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        operations: ModuleType,
        x: Tensor,
        h: Tensor,
        segments: Segments,
        has_gelu: bool,
        down: Tensor,
        down_bias: Tensor,
        up: Tensor,
        up_bias: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ends, tokens = segments
        z = product(h, down.mT, ends)
        inside = operations.add(z, down_bias, ends, has_gelu=has_gelu)
        ctx.operations, ctx.tokens, ctx.shapes = operations, tokens, [each.shape for each in parameters]
        ctx.save_for_backward(h, z if has_gelu else None, inside, ends, down, down_bias, up, up_bias)
        y = operations.add(product(inside, up.mT, ends), up_bias, ends, x)
        if tokens < len(x):
            y[tokens:] = x[tokens:]
        return cast(Tensor, y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        h, z, inside, ends, down, down_bias, up, up_bias = ctx.saved_tensors
        dy = gradients[0].contiguous()
        _, dup_bias = ctx.operations.add_backward(dy, None, up_bias, ends)
        dz, ddown_bias = ctx.operations.add_backward(product(dy, up, ends), z, down_bias, ends)
        dh = product(dz, down, ends) if ctx.needs_input_grad[2] else None
        if dh is not None and ctx.tokens < len(dh):
            dh[ctx.tokens :] = 0
        ddown, dup = product(dz.mT, h, ends), product(dy.mT, inside, ends)
        padded = [each for own in (ddown, ddown_bias, dup, dup_bias) for each in own]
        own = _without_padding(padded, ctx.shapes, ctx.needs_input_grad[_BEFORE:])
        return None, dy if ctx.needs_input_grad[1] else None, dh, *[None] * (_BEFORE - 3), *own


def _without_padding(
    padded: Sequence[Tensor], shapes: Sequence[torch.Size], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Return the wanted gradients in fp32, without the padding of a stack. One operation copies those of weights."""
    gradients: list[Tensor | None] = [None] * len(padded)
    targets, sources = [], []
    for place, (gradient, shape) in enumerate(zip(padded, shapes, strict=True)):
        if not wanted[place]:
            continue
        part = gradient[tuple(slice(size) for size in shape)]
        if len(shape) == 2:
            target = empty_gradient(part, (shape[0], shape[1]), torch.float32)
            targets.append(target)
            sources.append(part)
            part = target
        gradients[place] = part
    if targets:
        torch._foreach_copy_(targets, sources)
    return gradients
