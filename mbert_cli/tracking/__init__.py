"""Trackers: programs that keep the values of training runs and draw their curves.

To add a tracker, add one file here. For `track: [tensorboard]`, the file is `tensorboard.py` and the class is
`TensorBoard`: the kind without underscores, in any capitals. The base class is `Tracker` in this file. A tracker
imports its package in `start`, so that mbert does not need the package otherwise. `training/trackers.py` calls the
trackers, each in a thread of its own. The users' list is in `guide/tracking.md`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

Ending = Literal["finished", "stopped", "failed"]
"""How a run ended: complete, stopped by a signal, or with an error."""

PROJECT = "mbert"
"""The project or experiment of the runs, unless the user's own settings of a tracker name another one."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker shows it.

    Args:
        name: name of the run.
        group: name of the sweep or the ensemble that it belongs to; None if there is none.
        path: the run folder.
        folder: the folder for the tracker's own files, unless the user's own settings name another one. It exists.
        settings: the recipe as flat keys: `{"training.epochs": 3}`.
        recipe: the recipe as YAML.
        id: what `start` returned when the run began; None for a new run.
    """

    name: str
    group: str | None
    path: Path
    folder: Path
    settings: Mapping[str, Any]
    recipe: str
    id: str | None = None


class Tracker(ABC):
    """Sends the values of one run to a tracker. Any method may raise any error: training continues without it.

    Attributes:
        module: the Python module that the tracker needs.
        package: what `pip install` needs for it.
        empty_size: size of its files for a run without points, in bytes, for the estimate of the disk space.
        value_size: size of one value in its files, in bytes.
    """

    module: ClassVar[str]
    package: ClassVar[str]
    empty_size: ClassVar[int] = 5_000
    value_size: ClassVar[int] = 60

    @abstractmethod
    def start(self, run: TrackedRun) -> str:
        """Start a run, or continue the one with `run.id`; return the tracker's id of the run."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of a step. The step is greater than that of the call before."""

    @abstractmethod
    def end(self, ending: Ending, scores: Mapping[str, float], step: int) -> None:
        """End the run.

        Args:
            ending: how the run ended.
            scores: the scores of the model that was kept; none unless the run is complete.
            step: the last step of the run.
        """


def is_offline() -> bool:
    """Whether `--offline` or HF_HUB_OFFLINE forbids the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
