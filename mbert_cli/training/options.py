"""The options of a training run that are not in its recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mbert_cli.machine.hardware import Hardware
from mbert_cli.machine.process_group import ALONE, Processes
from mbert_cli.model.saved_parts import ModelFiles
from mbert_cli.terminal.console import Console


@dataclass(frozen=True)
class RunOptions:
    """How to train. What to train is in the recipe.

    Args:
        hardware: device, precision and kernels to compute with.
        console: where progress is printed.
        resume: continue from the newest state. Otherwise, replace the run that the folder may contain.
        limit: maximum number of examples read from each file, spread evenly over it.
        allow_drift: resume even if recipe, data, hardware or versions have changed since the run started.
        jobs: number of members of an ensemble that train at the same time. They share the cores.
        processes: the processes that train together. Only the first one writes.
        prune_below: for a trial of a search, the scores below which it ends; see `Pruning`.
        base: the model that the tasks are added to; see `added_tasks`. None for a model of its own.
    """

    hardware: Hardware
    console: Console
    resume: bool = False
    limit: int | None = None
    allow_drift: bool = False
    jobs: int = 1
    processes: Processes = ALONE
    prune_below: Mapping[int, float] = field(default_factory=dict)
    base: ModelFiles | None = None
