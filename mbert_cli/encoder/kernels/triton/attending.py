"""Attention over packed sentences with the Triton kernels."""

from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from mbert_cli.batch import Layout
from mbert_cli.encoder.kernels.triton.attention import attention
from mbert_cli.encoder.kernels.triton.attention_backward import attention_backward
from mbert_cli.encoder.kernels.triton.launching import dropping, sum_dtype, sums_like

TILES = {torch.bfloat16: 64, torch.float32: 32, torch.float64: 64}
"""Number of tokens of a tile; a larger tile in fp32 does not fit into the registers. Tests on a CPU use fp64."""
WIDEST = 64
"""The largest number of features of a head: with more, a tile does not fit into the memory of every GPU."""


class Attend(torch.autograd.Function):
    """dropout(softmax(Q K^T / sqrt(d))) V. Arguments: qkv, bias or None, layout, num_heads, p, graph.

    `graph` is whether autograd records operations.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, bias: Tensor | None, layout: Layout, num_heads: int, p: float, graph: bool
    ) -> Tensor:
        """Compute the values."""
        tokens, size = len(qkv), qkv.shape[1] // (3 * num_heads)
        key, numbers, dropped = dropping(p, lambda: layout.rows, qkv.device)
        width = max(16, triton.next_power_of_2(size))
        ctx.sizes = tokens, num_heads, size**-0.5, dropped, sum_dtype(qkv), size, width, TILES[qkv.dtype]
        out = qkv.new_empty(tokens, num_heads * size)
        logs = sums_like(qkv, num_heads, tokens) if graph and any(ctx.needs_input_grad) else None
        grid = triton.cdiv(tokens, TILES[qkv.dtype]), num_heads
        attention[grid](qkv, bias, layout.sentence_bounds, key, numbers, out, logs, *ctx.sizes)
        ctx.save_for_backward(qkv, bias, layout.sentence_bounds, key, numbers, out, logs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the derivatives."""
        qkv, bias, bounds, key, numbers, out, logs = ctx.saved_tensors
        dqkv, tiles = torch.empty_like(qkv), triton.cdiv(len(qkv), TILES[qkv.dtype])
        dbias = sums_like(qkv, tiles, qkv.shape[1]) if ctx.needs_input_grad[1] else None
        attention_backward[tiles, ctx.sizes[1]](
            gradients[0].contiguous(), out, logs, qkv, bias, bounds, key, numbers, dqkv, dbias, *ctx.sizes
        )
        return dqkv, None if dbias is None else dbias.sum(0).to(bias.dtype), None, None, None, None
