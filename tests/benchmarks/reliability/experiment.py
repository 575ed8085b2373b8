"""What an experiment is: a promise, and trials each of which may break it."""

import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests' tiny checkpoint, files and recipe


@dataclass(frozen=True)
class Experiment:
    """A promise and how it is tried.

    Args:
        number: its row in the guide (page reliability).
        promise: what every trial must show.
        trials: how many make a full experiment.
        few: how many the test suite runs.
        trial: one trial; it raises `Broken` where the promise is, and may return what it measured. Its arguments are
            the trial's own chance and an empty folder, whose parent all trials of a process share, see `once`.
    """

    number: int
    promise: str
    trials: int
    few: int
    trial: Callable[["Chance", Path], str | None]


class Chance(random.Random):
    """Random numbers of one trial, a function of the seed and its number.

    Args:
        name: the experiment's.
        seed: the experiment's.
        index: the trial's number, from 0.
    """

    def __new__(cls, name: str, seed: int, index: int) -> "Chance":
        return super().__new__(cls)

    def __init__(self, name: str, seed: int, index: int) -> None:
        super().__init__(f"{name} {seed} {index}")
        self.index = index


class Broken(AssertionError):  # noqa: N818 -- a promise is
    """A promise that was not kept."""


def check(kept: bool, what: str) -> None:
    """Raise `Broken` where something is not so."""
    if not kept:
        raise Broken(what)


def once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return a file or folder beside a trial's, made by the first trial that asks for it."""
    path = folder.parent / name
    if not path.exists():
        new = folder.parent / f"{name}.being-made"
        shutil.rmtree(new, ignore_errors=True)
        make(new)
        new.rename(path)
    return path
