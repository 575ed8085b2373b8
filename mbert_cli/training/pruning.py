"""Median pruning: a trial of a search ends when its scores are below those of earlier trials."""

import math
from collections.abc import Mapping
from pathlib import Path

from mbert_cli.errors import UsageError
from mbert_cli.storage.atomic import read_json
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder


class Pruning:
    """Decides after each round whether a trial ends.

    It ends if its best overall score so far is below the limit of that round. `mbert sweep` computes the limits from
    earlier trials. The last round of a run ends it anyway.

    Args:
        limits: the lowest score of a round, by the number of the round; a round without a limit does not end the trial.
        folder: the run folder, whose rounds that are done count.
    """

    def __init__(self, limits: Mapping[int, float], folder: RunFolder) -> None:
        self._limits = limits
        self._best = -math.inf
        self.is_due = False
        for record in folder.read_metrics() if limits else ():
            self.note(record)

    def note(self, record: EpochRecord) -> None:
        """Count a round; `is_due` is then whether the trial ends after it."""
        if record.overall is not None:
            self._best = max(self._best, record.overall)
            self.is_due = self._best < self._limits.get(record.epoch, -math.inf)


def read_limits(path: Path) -> dict[int, float]:
    """Return the limits of a JSON file, such as `{"1": 0.51, "2": 0.56}`.

    Raises:
        UsageError: the file has other contents.
    """
    values = read_json(path)
    try:
        return {int(number): float(limit) for number, limit in values.items()}
    except (TypeError, ValueError):
        raise UsageError(f'{path}: must map numbers of epochs to scores, such as {{"1": 0.51}}.') from None
