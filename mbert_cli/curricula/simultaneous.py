"""Simultaneous training."""

from collections.abc import Mapping
from typing import Literal

from mbert_cli.curricula import Curriculum, Phase, all_at_once

Match = Literal["second_largest", "smallest", "largest"]


class Simultaneous(Curriculum):
    """Every step has one batch of each task and minimises the balanced sum of their losses; everything trains.

    Source: Multi-BERT paper, "Multi-task Training Curriculum".

    Args:
        epochs: number of epochs of the run.
        match: `smallest`, `second_largest` or `largest`: the training set that sets the number of rows per task and
            epoch. A larger training set is sampled without replacement, with a new sample in each epoch. A smaller one
            is repeated.
    """

    def __init__(self, epochs: int, *, match: Match = "second_largest") -> None:
        super().__init__(epochs)
        self.match = match

    def phases(self, epoch: int, sizes: Mapping[str, int], batch_size: int) -> list[Phase]:
        """Return the epoch's single phase."""
        return all_at_once(sizes, batch_size, matched_rows(sizes, self.match))


def matched_rows(sizes: Mapping[str, int], match: Match) -> int:
    """Return the number of rows that each task reads in an epoch."""
    ordered = sorted(sizes.values())
    return {"smallest": ordered[0], "largest": ordered[-1], "second_largest": ordered[-2:][0]}[match]
