"""The trackers of a run: `training.track`. A tracker that fails is left out; training never fails because of one."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import Any

from mbert_cli.errors import Stopped
from mbert_cli.model.components import build, component_class
from mbert_cli.recipe.differences import flat
from mbert_cli.recipe.sections import Component, Recipe, as_spec
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_names import run_name
from mbert_cli.tracking import Ending, TrackedRun, Tracker
from mbert_cli.training.options import RunOptions
from mbert_cli.training.tracker_thread import TrackerThread

_EVERY = 10  # steps
_START_SECONDS, _END_SECONDS, _STOP_SECONDS = 180.0, 60.0, 10.0
_KEPT = ("epoch", "overall", "tasks")


class Trackers:
    """Sends the values of a run to its trackers, in a `with` block around the training.

    Points are written after every tenth step and at the end of each round. The names of their values are the keys of
    metrics.jsonl, joined by slashes, such as `tasks/mood/accuracy`. `steps/loss/TASK` is the mean loss over the rows
    that were read since the last point; after a resume, since the resume. On a GPU they are read some steps late.
    `steps/learning_rate` is the encoder's rate.

    Args:
        recipe: the recipe.
        folder: the run folder.
        options: the options of the run. Of several processes, only the first one has trackers.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, options: RunOptions) -> None:
        self._recipe = recipe
        self._folder = folder
        self._console = options.console
        self._kinds = recipe.training.track if options.processes.is_first else []
        self._threads: list[TrackerThread] = []
        self._sums: dict[str, float] = {}
        self._rows: dict[str, int] = {}
        self._rate = 0.0
        self._step = 0
        self._kept: dict[str, float] = {}

    def __enter__(self) -> "Trackers":
        run = run_name(self._folder.path)
        for kind in self._kinds:
            place = self._folder.tracking / kind
            tracked = TrackedRun(
                run.name,
                run.group,
                self._folder.path.absolute(),
                place.absolute(),
                _settings(self._recipe),
                self._recipe.to_yaml(),
            )
            thread = TrackerThread(kind, build("tracking", Component(kind=kind)), place.with_suffix(".json"))
            self._threads.append(thread)
            with self._waiting(f"starting {kind}"):
                thread.start(tracked, _START_SECONDS)
        self._leave_out_failed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ending: Ending = "finished" if error is None else "stopped" if isinstance(error, Stopped) else "failed"
        seconds = _END_SECONDS if error is None else _STOP_SECONDS
        for thread in self._threads:
            with self._waiting(f"waiting for {thread.kind}"):
                thread.end(ending, self._kept, self._step, seconds)
        self._leave_out_failed()

    def count_losses(self, losses: Mapping[str, float], rows: Mapping[str, int]) -> None:
        """Count the losses of a step; a GPU returns them some steps late.

        Args:
            losses: mean loss of each task of the step.
            rows: number of rows of each task.
        """
        if self._threads:
            for task, loss in losses.items():
                self._sums[task] = self._sums.get(task, 0.0) + loss * rows[task]
                self._rows[task] = self._rows.get(task, 0) + rows[task]

    def count_step(self, step: int, rate: float, ends_round: bool) -> None:
        """Count a step; write a point after every tenth one. The point at the end of a round is `log_round`'s.

        Args:
            step: number of the step in the run, from 1.
            rate: learning rate of the encoder.
            ends_round: whether the step is the last one of its round.
        """
        self._rate = rate
        if self._rows and step % _EVERY == 0 and not ends_round:
            self._log(step, self._step_values())

    def log_round(self, record: EpochRecord) -> None:
        """Write the results of an epoch, another round, or a growing ensemble."""
        if self._threads:
            values = {key: value for key, value in record.as_dict().items() if key != "step"}
            self._log(record.step, {**self._step_values(), **numbers(values)})

    def note_kept(self, record: EpochRecord, step: int) -> None:
        """Remember the scores of the kept model, which are written at the end.

        Args:
            record: the round whose model was kept.
            step: the last step of the run.
        """
        self._step = step
        chosen = {key: value for key, value in record.as_dict().items() if key in _KEPT}
        self._kept = {f"kept/{name}": value for name, value in numbers(chosen).items()}

    def _step_values(self) -> dict[str, float]:
        if not self._rows:
            return {}
        values = {f"steps/loss/{task}": total / self._rows[task] for task, total in self._sums.items()}
        self._sums, self._rows = {}, {}
        return {**values, "steps/learning_rate": self._rate}

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        for thread in self._threads:
            thread.log(values, step)
        self._leave_out_failed()

    def _leave_out_failed(self) -> None:
        for thread in self._threads:
            if thread.problem is not None:
                self._console.info(f"tracker {thread.kind} failed, and is left out: {thread.problem}.")
        self._threads = [each for each in self._threads if each.problem is None]

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        # Trackers print to stdout, where the events of --json are.
        with self._console.status(what), redirect_stdout(io.StringIO()):
            yield


def tracking_size(kinds: Sequence[str], steps: int, rounds: int, tasks: int, metrics: int) -> int:
    """Return the size of `RUN/tracking` at the end of a run, in bytes.

    Args:
        kinds: the trackers.
        steps: number of steps of the run.
        rounds: number of rounds.
        tasks: number of tasks.
        metrics: number of metrics of all tasks.
    """
    values = (steps // _EVERY + rounds) * (tasks + 1) + (rounds + 1) * (metrics + 2 * tasks + 10)
    trackers: list[type[Tracker]] = [component_class("tracking", kind) for kind in kinds]
    return sum(each.empty_size + each.value_size * values for each in trackers)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of metrics.jsonl, with names such as `tasks/mood/accuracy`.

    Lists, such as confusion matrices, and the numbers of single classes are left out.
    """
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            parts = value.items() if key == "tasks" else [("", value)]
            for part, own in parts:
                plain = {name: each for name, each in own.items() if isinstance(each, int | float)}
                found |= {"/".join(filter(None, (key, part, name))): float(each) for name, each in plain.items()}
        elif isinstance(value, int | float):
            found[key] = float(value)
    return found


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as flat keys, with numbers and texts as values."""
    values = flat({key: value for key, value in as_spec(recipe).items() if value is not None})
    plain = (str, int, float, type(None))
    return {key: value if isinstance(value, plain) else str(value) for key, value in values.items()}
