"""The folder of a run: what lies where, the lock, and the order in which an epoch is committed. No torch here.

    runs/x/
      recipe.yaml        the resolved recipe
      metrics.jsonl      one line an epoch
      model/             the best model: all that evaluate and predict need
      evaluation/        what it scored and predicted on the dev files
      figures/           both drawn, when the run has ended
      state/             what --resume needs, a folder each, the newest kept:
        epoch-0003/                 after the third epoch
        epoch-0003-step-00000150/   150 steps further
      members/           of an ensemble, each a folder like this; metrics.jsonl has a line for each then

Every folder and file is committed whole, see `commits`: a crash within a commit leaves what was there before. A state
holds all that training goes on from. So the only question is what is on the disk between two commits, and that is
answered by their order, see `RunFolder.commit_epoch`.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from mbert_cli.errors import CheckpointError, DataError, MbertError, ResourceError, RunInUseError, UsageError
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.reader import ComponentCheck, validate
from mbert_cli.recipe.sections import ModelSection
from mbert_cli.storage.atomic import (
    DECISIONS,
    MANIFEST,
    amendment,
    check_folder,
    commit_folder,
    committed,
    left_by_a_crash,
    read_json,
    remove_folder,
    replace_file,
)
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import take_lock
from mbert_cli.storage.metrics_file import METRICS_FILE, EpochRecord, metrics_text, read_metrics

Write = Callable[[Path], None]
"""Writes the files of a folder into the folder it is given."""


class RunFolder:
    """The folder of one run.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.metrics_file = path / METRICS_FILE
        self.model = path / "model"
        self.evaluation = path / "evaluation"
        self.figures = path / "figures"
        self.states = path / "state"
        self.members = path / "members"
        self._folders = (self.states, self.model, self.evaluation, self.figures, self.members)
        self._files = (self.metrics_file, self.recipe_file)
        self._lock = path / ".lock"

    @contextmanager
    def locked(self, resume: bool = False, force: bool = False) -> Iterator[None]:
        """Hold the folder against other processes, creating it if need be.

        Raises:
            RunInUseError: another process holds it.
            UsageError: as `check_free` says, asked again now that nobody else can change the answer.
        """
        self.check_free(resume, force)
        made = [each for each in (self.path, *self.path.parents) if not each.exists()]
        ours = bool(made)
        try:
            with disk_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
            try:
                lock = self._hold("wait for it to end, or choose another -o")
            except RunInUseError:
                ours = False
                raise
            ours = True
            try:
                self.check_free(resume, force)
                yield
            finally:
                lock.release()
        finally:
            if ours:
                self._remove_unwritten(made)

    def _remove_unwritten(self, made: list[Path]) -> None:
        """Leave no folder behind of a run that was refused, or stopped, before it wrote anything."""
        if self.path.is_dir() and [each.name for each in self.path.iterdir()] in ([], [self._lock.name]):
            shutil.rmtree(self.path)
            for each in made[1:]:
                with suppress(OSError):  # somebody put a file there meanwhile
                    each.rmdir()

    def _hold(self, remedy: str) -> filelock.BaseFileLock:
        with disk_errors(self.path):
            return take_lock(self._lock, f"{self.path} is in use by another mbert; {remedy}.")

    @contextmanager
    def model_locked(self) -> Iterator[Path]:
        """Hold the saved model against a training of its run, and whoever else would change it; yield its folder.

        Raises:
            RunInUseError: another process holds it.
            UsageError: it cannot be written to, or a part of its run is a link to somewhere else.
            CheckpointError: there is no model.
        """
        self._check_links()
        folder = self.model_folder()
        run = RunFolder(folder.resolve().parent)
        # A model that was copied out of its run is held by itself.
        held = run if run.recipe_file.is_file() and committed(run.model) == folder.resolve() else RunFolder(folder)
        if not os.access(folder, os.W_OK):
            raise UsageError(f"{folder}: cannot be written to; copy it to where it can.")
        lock = held._hold("wait for it to end")
        try:
            yield self.model_folder()
        finally:
            if held is not run:
                held._lock.unlink(missing_ok=True)
            lock.release()

    def in_use(self) -> bool:
        """Whether another process holds the folder now.

        Raises:
            UsageError: that cannot be told, for the folder cannot be written to.
        """
        if not self._lock.exists():
            return False
        try:
            self._hold("wait for it to end").release()
        except RunInUseError:
            return True
        return False

    def holds_a_run(self) -> bool:
        """Whether a run was begun here, or its metrics alone were kept."""
        return self.can_go_on() or self._metrics_alone()

    def can_go_on(self) -> bool:
        """Whether there is what `resume` goes on with; a run that has saved no state yet begins again."""
        return any(each.exists() for each in (self.recipe_file, self.model, self.states))

    def _metrics_alone(self) -> bool:
        """Whether metrics.jsonl is of a run; somebody else may have a file of that name."""
        try:
            return bool(self.read_metrics())
        except DataError:
            return False

    def check_free(self, resume: bool, force: bool) -> None:
        """Check that a run may begin, or go on, here.

        Raises:
            UsageError: there is a run and neither resume nor force; or resume without a run; or files of others; or a
                part of the run is a link to somewhere else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; choose another -o.")
        self._check_links()
        if self.holds_a_run():
            if resume and not self.can_go_on():
                raise UsageError(
                    f"{self.path} holds the metrics of a run, and nothing to resume; replace them with --force, or "
                    "choose another -o."
                )
            if not (resume or force):
                raise UsageError(
                    f"{self.path} exists and holds a run; continue it with --resume, or replace it with --force."
                )
        elif resume:
            raise UsageError(f"{self.path} holds no run to resume; leave out --resume to begin one.")
        elif self.path.exists() and not all(
            each == self._lock or self._is_a_rest(each) for each in self.path.iterdir()
        ):
            raise UsageError(f"{self.path} is not empty and holds no run; choose another -o.")

    def _check_links(self) -> None:
        for part in (*self._folders, *self._files, self._lock):
            if part.is_symlink():
                raise UsageError(f"{part}: is a symbolic link; a run lies in one folder. Put there what it points to.")

    def _is_a_rest(self, path: Path) -> bool:
        """Whether a path was left by a run that died before it had written anything whole."""
        return left_by_a_crash(path) and path.with_suffix("") in (*self._folders, *self._files)

    def check_room(self, size: int) -> None:
        """Check that the disk has so many bytes free.

        Raises:
            ResourceError: it has not.
        """
        free = shutil.disk_usage(self.path).free
        if free < size:
            raise ResourceError(
                f"{self.path}: a run of this model needs {size / 1e6:,.0f} MB, but the disk has {free / 1e6:,.0f} MB "
                "free; free some, lower training.keep, or choose another -o."
            )

    def clear(self) -> None:
        """Remove the run that was here, and nothing else."""
        for folder in self._folders:
            remove_folder(folder)
        with disk_errors(self.path):
            for file in self._files:
                file.unlink(missing_ok=True)

    def write_recipe(self, text: str) -> None:
        """Write recipe.yaml."""
        replace_file(self.recipe_file, text)

    def commit_epoch(
        self,
        record: EpochRecord,
        write_state: Write,
        keep: int,
        best: tuple[Write, Write] | None,
    ) -> None:
        """Commit what an epoch came to.

        The state is last: until it is in place, a run goes on from the state before, comes to the same epoch again, and
        commits the same bytes over whatever of it was there already. The model of an epoch whose state is missing is
        whole and can be used; what a resumed run knows of the best model it knows from its state.

        Args:
            record: the results of the epoch.
            write_state: writes what the next epoch starts from.
            keep: how many states are kept.
            best: writes the model and its evaluation, where this epoch's is the best so far.
        """
        if best is not None:
            write_model, write_evaluation = best
            commit_folder(self.model, write_model, self._weights())
            commit_folder(self.evaluation, write_evaluation)
        # Lines of this and later epochs were left by a process that died before their state was in place.
        kept = [each for each in self.read_metrics() if each.epoch < record.epoch]
        replace_file(self.metrics_file, metrics_text([*kept, record]))
        self.commit_state(record.epoch, 0, write_state, keep)

    def commit_state(self, epoch: int, step: int, write: Write, keep: int) -> None:
        """Commit a state, then drop all but the newest.

        Args:
            epoch: the last finished one.
            step: steps taken since.
            write: writes the state's files.
            keep: how many states are kept.
        """
        with disk_errors(self.path):
            self.states.mkdir(exist_ok=True)
        commit_folder(self.states / f"epoch-{epoch:04d}{f'-step-{step:08d}' if step else ''}", write, self._weights())
        kept = self.state_folders()[:keep]
        for each in self.states.iterdir():
            if each not in kept:
                shutil.rmtree(each, ignore_errors=True)

    def _weights(self) -> list[Path]:
        """Return the folders whose weights may be those of a new one: of an ensemble, its members' models, too."""
        return [self.model, *self.state_folders(), *sorted(self.members.glob("*/model"))]

    def newest_state(self) -> tuple[Path | None, list[str]]:
        """Return the newest state whose files are whole, if there are any, and the problems of newer ones that are not.

        Raises:
            CheckpointError: there are states, and none is whole.
        """
        problems: list[str] = []
        for folder in self.state_folders():
            try:
                check_folder(folder)
            except CheckpointError as error:
                problems += error.problems
            else:
                return folder, problems
        if problems:
            raise CheckpointError(*problems, f"{self.path}: no whole state is left to resume; begin anew with --force.")
        return None, []

    def state_folders(self) -> list[Path]:
        """Return the states, the newest first."""
        found = []
        for each in self.states.glob("epoch-*"):
            if match := re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?", each.name):
                found.append((int(match[1]), int(match[2] or 0), each))
        return [each for *_, each in sorted(found, reverse=True)]

    def read_metrics(self) -> list[EpochRecord]:
        """Return the epochs of metrics.jsonl."""
        return read_metrics(self.metrics_file)

    def model_folder(self) -> Path:
        """Return the folder of the saved model: `model/`, or this folder itself where it is one.

        Raises:
            CheckpointError: there is none, or a file of it was altered.
        """
        folder = self._committed_model()
        check_folder(folder)
        return folder

    def model_section(self) -> ModelSection:
        """Return what the saved model is built of; neither hashes nor components are checked.

        Raises:
            CheckpointError: there is no model, or its config.json cannot be read.
            RecipeError: it holds a value that no recipe may hold.
        """
        folder = self._committed_model()
        try:
            return section_of(read_json(folder / "config.json"), folder, lambda *_: [])
        except MbertError:
            check_folder(folder)  # names the file that was altered, if one was
            raise

    def fitted_tasks(self) -> list[str]:
        """Return the tasks whose threshold or temperature was fitted after training."""
        folder = committed(self.model)
        path = None if folder is None else amendment(folder, DECISIONS)
        tasks = {} if path is None else read_json(path).get("tasks", {})
        return [name for name, each in tasks.items() if each.get("criterion") or each.get("temperature", 1.0) != 1.0]

    def _committed_model(self) -> Path:
        folder = committed(self.model) or committed(self.path)
        if folder is None:
            if not self.path.is_dir():
                raise CheckpointError(f"{self.path}: there is no such run folder; mbert train writes one with -o.")
            if self.model.is_dir():
                raise CheckpointError(f"{self.model / MANIFEST}: is missing; copy the folder again, or train anew.")
            raise CheckpointError(f"{self.path}: holds no model; no epoch of this run has been scored yet.")
        return folder


def section_of(config: Mapping[str, Any], folder: Path, check: ComponentCheck) -> ModelSection:
    """Return what a saved model is built of.

    Args:
        config: its config.json.
        folder: holds that.
        check: tells what is wrong with a component.

    Raises:
        RecipeError: with all problems found.
    """
    values = {key: config.get(key) for key in ("encoder", "adapters", "pooling", "tasks")}
    return validate(Document(values, {}, str(folder / "config.json"), folder.resolve()), check)
