"""Task-specific dropout in the encoder."""

from collections.abc import Mapping, Sequence

from mbert_cli.encoder.packed_encoder import PackedEncoder


class EncoderDropout:
    """Sets the dropout of the encoder before every step to that of the step's tasks.

    Dropout helps tasks with few rows, which are repeated often and overfit. A task with many rows, which are read only
    once or twice, learns more without dropout. The encoder runs once for all tasks of a step, so these tasks must have
    the same dropout.

    Args:
        encoder: the shared encoder.
        shares: for each task, the probability of dropping a feature or an attention weight; None for the encoder's
            default.
    """

    def __init__(self, encoder: PackedEncoder, shares: Mapping[str, float | None]) -> None:
        self._encoder = encoder
        # If no task sets a probability, the encoder keeps its default.
        chosen = shares if any(share is not None for share in shares.values()) else {}
        self._shapes = {task: encoder.shape.dropping(share) for task, share in chosen.items()}

    def __call__(self, tasks: Sequence[str]) -> None:
        """Prepare the encoder for a step of these tasks."""
        if self._shapes:
            self._encoder.drop(self._shapes[tasks[0]])
