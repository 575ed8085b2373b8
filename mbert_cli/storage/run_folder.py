"""The folder of a run: its parts, and how they are found again.

    runs/x/
      recipe.yaml        the resolved recipe
      metrics.jsonl      one line per epoch
      model/             the best model: everything that evaluate and predict need
      evaluation/        its scores and predictions on the dev files
      figures/           plots of both, drawn at the end of the run
      state/             what --resume needs, one folder per state; the newest are kept
        epoch-0003/                 after the third epoch
        epoch-0003-step-00000150/   150 steps later
      data_frames/       the data, if a Python program has trained on data frames instead of files
      tracking/          the files of trackers, and what of the run they have; see `training/trackers.py`
      members/           for an ensemble, one folder like this per member; metrics.jsonl has one line per member then
      .lock              held by the process that writes here; see `run_lock`

Every folder and file is committed as a whole; see `atomic`. A crash during a commit leaves the previous version. A
state contains everything that training needs to continue. `commit_epoch.py` defines the order of the commits, which
makes a crash between two of them harmless too.

Must not import torch: fast start-up.
"""

import re
from pathlib import Path

from mbert_cli.errors import CheckpointError, DataError
from mbert_cli.storage.atomic import check_folder, remove_folder, replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.locks import LOCK_FILE
from mbert_cli.storage.metrics_file import METRICS_FILE, EpochRecord, read_metrics


def run_below(path: Path) -> str:
    """Return the end of a message about a folder that is not a run folder: the runs in it, or how to train one."""
    runs = [str(file.parent) for pattern in _RUNS_BELOW for file in sorted(path.glob(pattern))]
    if not runs:
        return "; mbert train writes one with -o."
    if len(runs) == 1:
        return f"; did you mean {runs[0]}?"
    more = f" and {len(runs) - _MOST_RUNS} more" if len(runs) > _MOST_RUNS else ""
    return f"; give one of the runs in it: {', '.join(runs[:_MOST_RUNS])}{more}."


_RUNS_BELOW = ("*/recipe.yaml", "runs/*/recipe.yaml")
_MOST_RUNS = 5  # in a message


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
        self.tracking = path / "tracking"
        self.data_frames = path / "data_frames"
        self.lock_file = path / LOCK_FILE
        self.folders = (self.states, self.model, self.evaluation, self.figures, self.members, self.tracking)
        self.files = (self.metrics_file, self.recipe_file)

    def holds_a_run(self) -> bool:
        """Whether a run was started here, or at least its metrics were kept."""
        return self.is_resumable() or self._holds_metrics()

    def is_resumable(self) -> bool:
        """Whether `--resume` is possible here. A run that has not saved a state yet starts over."""
        return any(each.exists() for each in (self.recipe_file, self.model, self.states))

    def _holds_metrics(self) -> bool:
        """Whether metrics.jsonl belongs to a run. A user may have another file of that name."""
        try:
            return bool(self.read_metrics())
        except DataError:
            return False

    def read_metrics(self) -> list[EpochRecord]:
        """Return the epochs of metrics.jsonl."""
        return read_metrics(self.metrics_file)

    def clear(self) -> None:
        """Remove the run, and no other files."""
        for folder in self.folders:
            remove_folder(folder)
        with disk_errors(self.path):
            for file in self.files:
                file.unlink(missing_ok=True)

    def write_recipe(self, text: str) -> None:
        """Write recipe.yaml."""
        replace_file(self.recipe_file, text)

    def folders_with_weights(self) -> list[Path]:
        """Return the folders that may contain the same weights as a new one, so that these are stored once."""
        return [self.model, *self.state_folders(), *sorted(self.members.glob("*/model"))]

    def newest_state(self) -> tuple[Path | None, list[str]]:
        """Return the newest undamaged state, or None if there are no states; and the problems of newer states.

        Raises:
            CheckpointError: all states are damaged.
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
            raise CheckpointError(*problems, f"{self.path}: all states are damaged; start over with --force.")
        return None, []

    def state_folders(self) -> list[Path]:
        """Return the folders of all states, the newest first."""
        states = []
        for each in self.states.glob("epoch-*"):
            if match := re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?", each.name):
                states.append((int(match[1]), int(match[2] or 0), each))
        return [each for *_, each in sorted(states, reverse=True)]
