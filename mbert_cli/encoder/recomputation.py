"""Gradient checkpointing: activations are computed again in the backward pass instead of being kept.

Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 4, with one segment for each layer.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch.utils.checkpoint import checkpoint

from mbert_cli.encoder.dropout import same_keys

Result = TypeVar("Result")


def recomputed(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return function(*arguments), keeping only the arguments for the backward pass, which calls the function again.

    The second call uses the same kernels, row numbers and dropout masks, so that the gradients have the same bits as
    without recomputation. Random numbers from PyTorch's generators repeat as well.

    Args:
        function: computes the same values at each call.
        arguments: its arguments.
    """
    result = checkpoint(same_keys(function), *arguments, use_reentrant=False)
    return cast(Result, result)
