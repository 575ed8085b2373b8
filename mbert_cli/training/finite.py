"""Checks that no value becomes NaN or infinite."""

from mbert_cli.errors import NotFiniteError
from mbert_cli.model.multi_task_bert import MultiTaskBert


def not_finite(problem: str) -> NotFiniteError:
    """Return the error for a value that is not finite, with what to do about it."""
    return NotFiniteError(f"{problem} Lower the learning rates, set clip_norm, or use --precision fp32.")


def check_weights(model: MultiTaskBert, position: str) -> None:
    """Check that all weights are finite, so that no others are saved: without clip_norm, gradients are not checked.

    Args:
        model: the model.
        position: how far the run is, for the message.

    Raises:
        NotFiniteError: a weight is NaN or infinite.
    """
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise not_finite(f"{position}: {name} is no longer finite; nothing was saved.")
