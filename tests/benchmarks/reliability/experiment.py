"""Experiments: a promise, and trials that check it."""

import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tiny.py and the other helpers of the tests


@dataclass(frozen=True)
class Experiment:
    """A promise and its trials.

    Args:
        number: its number in the guide (page `reliability`).
        promise: what every trial checks.
        trials: number of trials of a full experiment.
        few: number of trials in the test suite; 0 if another test has the same promise.
        trial: runs one trial. Its arguments are the trial's random numbers and an empty folder, whose parent all trials
            of a process share (see `once`). It raises `Broken` if the promise is broken, and may return a measurement.
    """

    number: int
    promise: str
    trials: int
    few: int
    trial: Callable[["Chance", Path], str | None]


class Chance(random.Random):
    """Random numbers of one trial: a function of the seed and the trial's number.

    Args:
        name: name of the experiment.
        seed: seed of the experiment.
        index: number of the trial, from 0.
    """

    def __new__(cls, name: str, seed: int, index: int) -> "Chance":
        return super().__new__(cls)

    def __init__(self, name: str, seed: int, index: int) -> None:
        super().__init__(f"{name} {seed} {index}")
        self.index = index


class Broken(AssertionError):  # noqa: N818 -- 'raise Broken' reads as a sentence
    """A promise is broken."""


def check(kept: bool, what: str) -> None:
    """Raise `Broken` if a condition does not hold."""
    if not kept:
        raise Broken(what)


def once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return a file or folder that all trials share; the first trial that needs it makes it."""
    path = folder.parent / name
    if not path.exists():
        new = folder.parent / f"{name}.being-made"
        shutil.rmtree(new, ignore_errors=True)
        make(new)
        new.rename(path)
    return path
