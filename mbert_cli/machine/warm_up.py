"""Compile the fused kernels for this machine, for `mbert info --warm-up`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.common_bottlenecks import first_segments
from mbert_cli.encoder.kernels import Pending, bf16_products
from mbert_cli.encoder.kernels.product import Linear
from mbert_cli.encoder.layer import EncoderLayer
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.quantisation import quantise
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.encoder.shape import EncoderShape

_LAYOUT = Layout([8])


def compile_kernels() -> None:
    """Call every loop, which compiles it: train very small encoders for one step, then predict with them in int8.

    Both are done in fp32, and in bf16 if the CPU has instructions for it. Elsewhere, few users choose bf16, and the
    time would double; the loops are then compiled at first use.
    """
    hidden = 128  # gradients of smaller weights are not transposed
    shape = EncoderShape(
        vocab_size=8, hidden_size=hidden, num_layers=1, num_heads=2, intermediate_size=2 * hidden, max_positions=8
    )
    for each in (shape, replace(shape, gated=True)):
        encoder = PackedEncoder(each)
        _train_a_step(encoder)
        if torch.bfloat16 in dtypes():
            _train_bottlenecks(hidden)
        _predict_in_int8(encoder.eval())


def dtypes() -> list[torch.dtype]:
    """Return the data types for which loops are compiled."""
    slow = bf16_products.are_slow(torch.device("cpu"), torch.bfloat16)
    return [torch.float32] if slow else [torch.float32, torch.bfloat16]


def _train_a_step(encoder: PackedEncoder) -> None:
    optimizer = RowwiseAdamW([{"params": list(encoder.parameters())}], lr=1e-3)
    for dtype in dtypes():
        with _computing(dtype):
            kernels.current().mean(_states(encoder), _LAYOUT).sum().backward()
        optimizer.step()
    optimizer.catch_up()


def _train_bottlenecks(hidden: int) -> None:
    """Compute the bottlenecks of two tasks, forward and backward. In fp32, no loops compute them."""
    tasks, rank = Layout([4, 4], [1, 1]), 16
    pairs = [(Linear(hidden, rank), Linear(rank, hidden)) for _ in tasks.segments]
    h = torch.ones(tasks.num_tokens, hidden, dtype=torch.bfloat16)
    with _computing(torch.bfloat16):
        for activation in (None, nn.functional.gelu):
            y = kernels.current().add_bottlenecks(h, h, pairs, activation, first_segments(tasks, len(pairs)))
            y.sum().backward()


def _predict_in_int8(encoder: PackedEncoder) -> None:
    layer = cast(EncoderLayer, quantise(encoder).layers[0])
    for dtype in dtypes():
        with torch.inference_mode(), _computing(dtype):
            h = _states(encoder)
            # Adapters read the result of a product as floats, and the next LayerNorm gets floats from them.
            kernels.current().linear(h, layer.attention.output).tensor()
            kernels.current().add_norm(Pending(h), h, layer.attention_norm)


@contextmanager
def _computing(dtype: torch.dtype) -> Iterator[None]:
    with kernels.using("fused"), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        yield


def _states(encoder: PackedEncoder) -> Tensor:
    ids = torch.arange(8)
    return encoder(ids, torch.zeros_like(ids), ids, _LAYOUT)
