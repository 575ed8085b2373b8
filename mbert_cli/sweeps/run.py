"""One run of a sweep: its recipe, its folder, its state."""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import MbertError, RecipeError, UsageError
from mbert_cli.machine.child_process import last_lines, last_message
from mbert_cli.recipe.differences import differences, flat, result_spec
from mbert_cli.recipe.reader import load
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import read_json, remove_folder, replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.metrics_file import kept_epoch
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.sweeps.plan import Keep

_ENDED = "mbert sweep: the training ended with exit code "


@dataclass(frozen=True)
class Options:
    """Options of `mbert train` that all runs of a sweep share.

    Args:
        device: see `mbert train`.
        precision: see `mbert train`.
        kernels: see `mbert train`.
        limit: maximum number of rows of each file.
        offline: whether trainings may not use the network.
    """

    device: str = "auto"
    precision: str = "auto"
    kernels: str = "auto"
    limit: int | None = None
    offline: bool = False

    def words(self) -> list[str]:
        """Return the options as words of a command line."""
        words = ["--device", self.device, "--precision", self.precision, "--kernels", self.kernels]
        words += [] if self.limit is None else ["--limit", str(self.limit)]
        return [*words, *["--offline"] * self.offline]

    def facts(self) -> dict[str, Any]:
        """Return the options that affect a run's result; the number of a CUDA device does not."""
        facts = {**asdict(self), "device": self.device.partition(":")[0]}
        facts.pop("offline")
        return facts


@dataclass(frozen=True)
class RunState:
    """How far a run has come.

    Args:
        status: `done`; `training`, by some process now; `failed`; `stopped`, and to be gone on with; or `waiting`.
        epochs: how many have ended.
        exit_code: of the training that failed.
        said: the last line of its log.
    """

    status: str
    epochs: int = 0
    exit_code: int = 0
    said: str = ""


class SweepRun:
    """One run of a sweep, of one row or of several.

    Args:
        path: of the sweep.
        name: of the run's files.
        recipe: what it trains.
        label: what messages call it.
    """

    def __init__(self, path: Path, name: str, recipe: Recipe, label: str) -> None:
        self.name = name
        self.recipe = recipe
        self.label = label
        self.folder = RunFolder(path / "runs" / name)
        self.recipe_file = path / "recipes" / f"{name}.yaml"
        self.options_file = path / "recipes" / f"{name}.json"
        self.log = path / "logs" / f"{name}.log"

    def is_done(self) -> bool:
        """Whether every epoch has ended, and one is the best."""
        try:
            lines = self.folder.read_metrics()
        except MbertError:
            return False  # the training will say so
        planned = list(range(1, self.recipe.training.rounds + 1))
        return [line.epoch for line in lines] == planned and kept_epoch(lines) is not None

    def state(self) -> RunState:
        """Return how far it has come; reads only."""
        done = self.is_done()
        epochs = self.recipe.training.rounds if done else self._epochs()
        if done:
            return RunState("done", epochs)
        with suppress(UsageError):
            if self.folder.in_use():
                return RunState("training", epochs)
        code, said = self._last_words()
        if code:
            return RunState("stopped" if code in (129, 130, 143) else "failed", epochs, code, said)
        return RunState("stopped" if self.folder.holds_a_run() else "waiting", epochs)

    def _epochs(self) -> int:
        try:
            return len(self.folder.read_metrics())
        except MbertError:
            return 0

    def begin(self, options: Options, threads: int | None) -> int | None:
        """Write down what the run is begun with, or gone on with.

        Args:
            options: what it is begun with.
            threads: the number that it shall compute with; None for PyTorch's own choice.

        Returns:
            The number that it was begun with, which a run keeps.
        """
        for file in (self.recipe_file, self.log):
            with disk_errors(file):
                file.parent.mkdir(exist_ok=True)
        begun = self._begun_with() if self.folder.holds_a_run() else None
        if begun is not None:
            threads = begun["threads"]
        replace_file(self.recipe_file, self.recipe.to_yaml())
        replace_file(self.options_file, json.dumps({"options": options.facts(), "threads": threads}, indent=2) + "\n")
        return threads

    def changes(self, options: Options) -> list[str]:
        """Return what the run was begun with that is otherwise now, a sentence each.

        A run that is done may have been computed on another device than is asked for now.
        """
        if not self.folder.holds_a_run():
            return []
        then = _recipe_of(self.recipe_file)
        if then is None:
            return [f"{self.recipe_file.name}, which it was begun with, cannot be read"]
        found = differences(flat(result_spec(then)), flat(result_spec(self.recipe)))
        begun = self._begun_with()
        if begun is None:
            return found
        before, now = begun["options"], options.facts()
        if self.is_done():
            # Where it was computed moves its scores by less than the seed does; the table says it.
            before, now = ({"limit": each.get("limit")} for each in (before, now))
        return found + differences(before, now)

    def _begun_with(self) -> dict[str, Any] | None:
        try:
            found = read_json(self.options_file)
        except MbertError:
            return None
        return found if isinstance(found.get("options"), dict) and "threads" in found else None

    def clear(self) -> None:
        """Remove the run, so that it begins anew."""
        with self.folder.locked(force=True):
            self.folder.clear()

    def keep_only(self, keep: Keep) -> None:
        """Remove what of a finished run is not kept.

        Raises:
            RunInUseError: another process holds it.
        """
        folder = self.folder
        parts = {
            "all": (),
            "model": (folder.states,),
            "metrics": (folder.states, folder.model, folder.evaluation, folder.figures),
        }[keep]
        if parts:
            with folder.locked(force=True):
                for each in parts:
                    remove_folder(each)

    def note_end(self, code: int) -> None:
        """Write into the log that its training has ended."""
        with disk_errors(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(f"{_ENDED}{code}\n")

    def _last_words(self) -> tuple[int | None, str]:
        """Return the exit code of the last training and the line that it ended with; None where it just broke off."""
        lines = last_lines(self.log)
        if not lines or not re.fullmatch(rf"{_ENDED}\d+", lines[-1]):
            return None, ""
        return int(lines[-1].removeprefix(_ENDED)), last_message(lines[:-1])


def _recipe_of(file: Path) -> Recipe | None:
    """Return the recipe that a run was begun with; None where it cannot be read."""
    try:
        return load(file, [], lambda *_: [])
    except RecipeError:
        return None
