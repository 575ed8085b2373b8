"""Compile the fused kernels for a GPU, for `mbert info --warm-up`."""

import logging

import torch

from mbert_cli.batch import Layout
from mbert_cli.encoder import kernels
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.machine.hardware import computes_in_bf16

_log = logging.getLogger(__name__)
_SIZES = ((384, 12), (768, 12), (1024, 16))
"""Hidden size and number of heads of MiniLM, BERT-base and BERT-large. Triton compiles a kernel for each size."""


def compile_for(device: torch.device) -> None:
    """Compute one layer of encoders of common sizes: in evaluation, and in training with dropout and gradients.

    Triton keeps the compiled kernels on disk, in `~/.triton` or TRITON_CACHE_DIR.
    """
    _log.info("compiling the fused kernels for %s; this takes up to a few minutes", torch.cuda.get_device_name(device))
    for hidden, heads in _SIZES:
        shape = EncoderShape(
            vocab_size=8, hidden_size=hidden, num_layers=1, num_heads=heads, intermediate_size=4 * hidden,
            max_positions=8, dropout=0.1, attention_dropout=0.1,
        )  # fmt: skip
        encoder = PackedEncoder(shape).to(device)
        for dtype in (torch.float32, torch.bfloat16)[: 1 + computes_in_bf16(device)]:
            _compute(encoder, device, dtype)


def _compute(encoder: PackedEncoder, device: torch.device, dtype: torch.dtype) -> None:
    """Run one forward pass in evaluation, then a forward and a backward pass in training."""
    ids, layout = torch.arange(8, device=device), Layout([8], device=device)
    for trains in (False, True):
        precision = torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
        with kernels.using("fused", device), precision, torch.set_grad_enabled(trains):
            h = encoder.train(trains)(ids, torch.zeros_like(ids), ids, layout)
        if trains:
            h.sum().backward()
    encoder.zero_grad()
