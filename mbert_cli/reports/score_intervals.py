"""95 % intervals of the scores of a run, from the predictions for the dev files that training has saved.

Must not import torch: fast start-up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mbert_cli.metrics import task_score
from mbert_cli.reports.bootstrap import Interval, data_key, interval_of, resample
from mbert_cli.reports.evaluation_folder import PREDICTIONS, read_summary
from mbert_cli.reports.scored_rows import read_rows
from mbert_cli.storage.atomic import committed
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder


@dataclass(frozen=True)
class ScoreIntervals:
    """The intervals of the scores of a run.

    Args:
        tasks: the interval of the main metric of each task for which there are predictions.
        overall: that of the score over all tasks; None if a task has no interval.
    """

    tasks: Mapping[str, Interval] = field(default_factory=dict)
    overall: Interval | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the intervals as JSON values."""
        overall = None if self.overall is None else list(self.overall)
        return {"tasks": {task: list(each) for task, each in self.tasks.items()}, "overall": overall}


NO_INTERVALS = ScoreIntervals()
"""The intervals of a run without predictions."""


def score_intervals(run: Path, kept: EpochRecord) -> ScoreIntervals:
    """Return the intervals of the main metrics, and of the score over all tasks, by the bootstrap.

    Tasks with the same dev file draw the same rows; the draws of other tasks are independent.

    Args:
        run: the run folder.
        kept: the epoch whose model is kept.

    Raises:
        CheckpointError: a file of predictions is damaged.
    """
    folder = committed(RunFolder(run).evaluation)
    summary = {} if folder is None else read_summary(folder)
    if folder is None or summary.get("epoch") != kept.epoch:
        return NO_INTERVALS
    intervals: dict[str, Interval] = {}
    parts = []
    for (task, name), _ in kept.main_scores().items():
        metrics = summary["tasks"].get(task)
        if metrics is None or not (folder / f"{task}{PREDICTIONS}").is_file():
            continue
        rows = read_rows(folder, task, metrics)
        if name in rows.scores:
            scores = {name: rows.scores[name]}
            values = resample(scores, len(rows), data_key(metrics, task), rows.width)[name]
            intervals[task] = interval_of(values)
            slope = task_score(name, 1.0) - task_score(name, 0.0)
            parts.append(task_score(name, 0.0) + slope * values)
    overall = interval_of(np.mean(parts, axis=0)) if parts and len(parts) == len(kept.tasks) else None
    return ScoreIntervals(intervals, overall)
