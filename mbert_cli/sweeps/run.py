"""One run of a sweep: its recipe, folder and state.

Must not import torch: fast start-up.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import MbertError, NotFiniteError, RecipeError, ResourceError, UsageError
from mbert_cli.machine.child_process import last_lines, last_message
from mbert_cli.recipe.differences import differences
from mbert_cli.recipe.reader import load
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import read_json, remove_folder, replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.metrics_file import is_complete, kept_epoch
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import in_use, locked
from mbert_cli.sweeps.file_hashes import FileHashes, changes
from mbert_cli.sweeps.plan import Keep

_ENDED = "mbert sweep: the training ended with exit code "  # a line of the log


@dataclass(frozen=True)
class Options:
    """Options of `mbert train` that all runs of a sweep share.

    Args:
        device: see `mbert train`.
        precision: see `mbert train`.
        kernels: see `mbert train`.
        limit: maximum number of rows of each file.
        offline: whether training runs may not use the network.
    """

    device: str = "auto"
    precision: str = "auto"
    kernels: str = "auto"
    limit: int | None = None
    offline: bool = False

    def words(self, device: str) -> list[str]:
        """Return the options as words of a command line.

        Args:
            device: the device of one run.
        """
        words = ["--device", device, "--precision", self.precision, "--kernels", self.kernels]
        words += [] if self.limit is None else ["--limit", str(self.limit)]
        return [*words, *["--offline"] * self.offline]

    def facts(self) -> dict[str, Any]:
        """Return the options that affect a run's result; the number of a CUDA device does not."""
        facts = {**asdict(self), "device": self.device.partition(":")[0]}
        facts.pop("offline")
        return facts


@dataclass(frozen=True)
class RunState:
    """The progress of a run.

    Args:
        status: `done`, `pruned` (by a search), `training` (in any process), `failed`, `stopped` (can be resumed) or
            `waiting`.
        epochs: number of finished epochs.
        exit_code: exit code of the training process if it failed.
        message: last message of its log.
    """

    status: str
    epochs: int = 0
    exit_code: int = 0
    message: str = ""


@dataclass(frozen=True)
class RunRecord:
    """The settings that a run was started with, as `recipes/` of the sweep records them.

    Args:
        recipe: the recipe.
        options: `Options.facts()`; None if they cannot be read.
        threads: number of threads of the training process; None for PyTorch's default.
        files: hashes of its files, see `FileHashes.of`; empty for sweeps of earlier versions.
    """

    recipe: Recipe
    options: Mapping[str, Any] | None
    threads: int | None
    files: Mapping[str, str]


def read_record(recipe_file: Path) -> RunRecord | None:
    """Return the record of a run, or None if its recipe cannot be read.

    Args:
        recipe_file: `recipes/NAME.yaml`; the rest is in `recipes/NAME.json`.
    """
    try:
        recipe = load(recipe_file, [], lambda *_: [])
    except RecipeError:
        return None
    try:
        values = read_json(recipe_file.with_suffix(".json"))
    except MbertError:
        values = {}
    options, files = values.get("options"), values.get("files")
    if not isinstance(options, dict) or "threads" not in values:
        return RunRecord(recipe, None, None, {})
    return RunRecord(recipe, options, values["threads"], files if isinstance(files, dict) else {})


class SweepRun:
    """One run of a sweep. It may belong to several rows.

    Args:
        path: the folder of the sweep.
        name: name of the run's files.
        recipe: what to train.
        label: name of the run in messages.
        hashes: computes the hashes of the recipe's files.
    """

    def __init__(self, path: Path, name: str, recipe: Recipe, label: str, hashes: FileHashes) -> None:
        self.name = name
        self.recipe = recipe
        self.label = label
        self.hashes = hashes
        self.folder = RunFolder(path / "runs" / name)
        self.recipe_file = path / "recipes" / f"{name}.yaml"
        self.options_file = path / "recipes" / f"{name}.json"
        self.log = path / "logs" / f"{name}.log"

    def is_done(self) -> bool:
        """Return whether the run has ended and one of its epochs is the best."""
        try:
            lines = self.folder.read_metrics()
        except MbertError:
            return False  # the training process reports the error
        return is_complete(lines, self.recipe.training.rounds) and kept_epoch(lines) is not None

    def state(self) -> RunState:
        """Return the progress of the run; nothing is written."""
        epochs = self._epochs()
        if self.is_done():
            return RunState("pruned" if self.folder.read_metrics()[-1].ended == "pruned" else "done", epochs)
        with suppress(UsageError):
            if in_use(self.folder):
                return RunState("training", epochs)
        code, message = self._last_message()
        if code:
            return RunState("stopped" if code in (129, 130, 143) else "failed", epochs, code, message)
        return RunState("stopped" if self.folder.holds_a_run() else "waiting", epochs)

    def is_settled(self, state: RunState) -> bool:
        """Whether a search has a result of the run: it is done or pruned, or failed because of its settings.

        Settings can make a loss infinite, or need too much memory. Other failures are repeated with the next sweep.

        Args:
            state: the state of the run.
        """
        if state.status == "failed":
            return state.exit_code in (NotFiniteError.exit_code, ResourceError.exit_code) and self.folder.holds_a_run()
        return state.status in ("done", "pruned")

    def _epochs(self) -> int:
        try:
            return len(self.folder.read_metrics())
        except MbertError:
            return 0

    def begin(self, options: Options, threads: int | None) -> int | None:
        """Record the settings that the run starts or resumes with.

        Args:
            options: the options of the sweep.
            threads: number of threads for a new run; None for PyTorch's default.

        Returns:
            The number of threads to use, which is that of the start if the run is resumed.
        """
        for file in (self.recipe_file, self.log):
            with disk_errors(file):
                file.parent.mkdir(exist_ok=True)
        record = read_record(self.recipe_file) if self.folder.holds_a_run() else None
        if record is not None and record.options is not None:
            threads = record.threads
        # The hashes are computed again, because files may have changed while earlier runs of the sweep trained.
        values = {"options": options.facts(), "threads": threads, "files": FileHashes().of(self.recipe)}
        replace_file(self.recipe_file, self.recipe.to_yaml())
        replace_file(self.options_file, json.dumps(values, indent=2) + "\n")
        return threads

    def changes(self, options: Options) -> list[str]:
        """Return what differs from the settings that the run was started with, one sentence each.

        If the run is done, its device may differ: it affects scores less than the seed does, and the table shows it.
        """
        if not self.folder.holds_a_run():
            return []
        record = read_record(self.recipe_file)
        changed = self._recipe_changes(record)
        if record is None or record.options is None:
            return changed
        before, now = record.options, options.facts()
        if self.is_done():
            before, now = ({"limit": each.get("limit")} for each in (before, now))
        return changed + differences(before, now)

    def has_its_recipe(self) -> bool:
        """Whether the run was started with its present recipe and files."""
        return self.folder.holds_a_run() and not self._recipe_changes(read_record(self.recipe_file))

    def _recipe_changes(self, record: RunRecord | None) -> list[str]:
        if record is None:
            return [f"{self.recipe_file.name}, the recipe that the run was started with, cannot be read"]
        return changes(record.recipe, record.files, self.recipe, self.hashes.of(self.recipe) if record.files else {})

    def recorded_options(self) -> Mapping[str, Any]:
        """Return the options that the run was started with; empty if they cannot be read."""
        try:
            options = read_json(self.options_file).get("options")
        except MbertError:
            return {}
        return options if isinstance(options, dict) else {}

    def clear(self) -> None:
        """Remove the run, so that it starts again."""
        with locked(self.folder, force=True):
            self.folder.clear()

    def keep_only(self, keep: Keep) -> None:
        """Remove the parts of a finished run that are not kept.

        Raises:
            RunInUseError: another process has locked the run.
        """
        folder = self.folder
        parts = {
            "all": (),
            "model": (folder.states,),
            "metrics": (folder.states, folder.model, folder.evaluation, folder.figures),
        }[keep]
        if parts:
            with locked(folder, force=True):
                for each in parts:
                    remove_folder(each)

    def note_end(self, code: int) -> None:
        """Write the exit code of a training process into the log."""
        with disk_errors(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(f"{_ENDED}{code}\n")

    def _last_message(self) -> tuple[int | None, str]:
        """Return exit code and last message of the latest training process; the code is None if it was not recorded."""
        lines = last_lines(self.log)
        if not lines or not re.fullmatch(rf"{_ENDED}\d+", lines[-1]):
            return None, ""
        return int(lines[-1].removeprefix(_ENDED)), last_message(lines[:-1])
