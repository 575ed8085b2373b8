"""Simultaneous training."""

from collections.abc import Mapping
from typing import Literal

from mbert_cli.curricula import Curriculum, Phase, all_at_once

Match = Literal["second_largest", "smallest", "largest"]


class Simultaneous(Curriculum):
    """Every step takes one batch of each task and minimises the balanced sum of their losses; everything trains.

    Source: Multi-BERT paper, "Multi-task Training Curriculum".

    Args:
        epochs: how many the run has.
        match: to which training set all are matched. With `second_largest` the largest is down-sampled to it, a fresh
            sample without replacement each epoch; with `smallest` all others are; smaller ones are repeated.
    """

    def __init__(self, epochs: int, *, match: Match = "second_largest") -> None:
        super().__init__(epochs)
        self.match = match

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return the epoch's one phase."""
        return all_at_once(sizes, batch_size, matched_rows(sizes, self.match))


def matched_rows(sizes: Mapping[str, int], match: Match) -> int:
    """Return how many rows of each task an epoch runs through."""
    ordered = sorted(sizes.values())
    return {"smallest": ordered[0], "largest": ordered[-1], "second_largest": ordered[-2:][0]}[match]
