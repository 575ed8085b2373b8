"""Decides whether the forward pass of a model can be captured as a CUDA graph."""

from collections.abc import Sequence

from mbert_cli.adapters.pal import PAL
from mbert_cli.encoder.segment_adapters import acts_at
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.model.multi_task_bert import MultiTaskBert

_WIDEST = 64  # the most features of an attention head; see `kernels.triton.attending`


def why_not_captured(model: MultiTaskBert, tasks: Sequence[str]) -> str | None:
    """Return the reason why the forward pass of a model cannot be captured; None if it can.

    Args:
        model: the model.
        tasks: the tasks that are computed.
    """
    if not _has_fused_attention(model.encoder.shape):
        return "the fused kernels do not compute the attention of this encoder"
    for name in tasks:
        if model.head(name).late_interaction:
            return f"tasks.{name}.head compares texts token by token"
        for adapter in model.task(name).adapter_list():
            if acts_at(type(adapter), "prefix"):
                return f"the adapters of tasks.{name} have prefixes"
            if isinstance(adapter, PAL) and adapter.down.out_features > _WIDEST * adapter.heads:
                return f"the fused kernels do not compute the attention of tasks.{name}.adapters"
    return None


def _has_fused_attention(shape: EncoderShape) -> bool:
    positions = shape.rotary_theta or shape.relative_buckets or shape.position_buckets
    return not positions and shape.hidden_size <= _WIDEST * shape.num_heads
