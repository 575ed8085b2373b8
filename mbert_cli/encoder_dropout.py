"""Dropout within the encoder that is a task's own."""

from collections.abc import Mapping, Sequence

from mbert_cli.encoder.bert import BertEncoder


class EncoderDropout:
    """Gives the encoder, before every step, the dropout that the step's tasks want.

    Tasks of few rows are passed over often and overfit, where dropout pays; one of many rows that is passed over once
    or twice learns more without. The encoder runs once for all tasks of a step, which therefore want the same.

    Args:
        encoder: what all tasks share.
        shares: for each task the probability of dropping a feature or an attention weight; None for the encoder's own.
    """

    def __init__(self, encoder: BertEncoder, shares: Mapping[str, float | None]) -> None:
        self._encoder = encoder
        # Where no task wants another than the encoder's own, there is nothing to choose.
        chosen = shares if any(share is not None for share in shares.values()) else {}
        self._shapes = {task: encoder.shape.dropping(share) for task, share in chosen.items()}

    def __call__(self, tasks: Sequence[str]) -> None:
        """Prepare the encoder for a step of these tasks."""
        if self._shapes:
            self._encoder.drop(self._shapes[tasks[0]])
