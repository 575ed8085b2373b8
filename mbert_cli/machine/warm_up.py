"""Compile the fused kernels for this machine, for `mbert info --warm-up`."""

from dataclasses import replace

import torch

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.encoder.shape import EncoderShape


def compile_kernels() -> None:
    """Train very small encoders for one step in each precision, which calls and so compiles every loop."""
    hidden = 128  # gradients of smaller weights are not transposed
    shape = EncoderShape(
        vocab_size=8, hidden_size=hidden, num_layers=1, num_heads=2, intermediate_size=2 * hidden, max_positions=8
    )
    for each in (shape, replace(shape, gated=True)):
        _train_a_step(PackedEncoder(each))


def _train_a_step(encoder: PackedEncoder) -> None:
    optimizer = RowwiseAdamW([{"params": list(encoder.parameters())}], lr=1e-3)
    ids = torch.arange(8)
    for dtype in (torch.float32, torch.bfloat16):
        precision = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
        with kernels.using("fused"), precision:
            encoder(ids, torch.zeros_like(ids), ids, Layout([8])).sum().backward()
        optimizer.step()
    optimizer.catch_up()
