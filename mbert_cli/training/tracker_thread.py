"""Calls a tracker in a thread of its own, so that training does not wait for it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any

from mbert_cli.errors import reason_of
from mbert_cli.storage.atomic import replace_file
from mbert_cli.tracking import Ending, TrackedRun, Tracker

_MOST_WAITING = 10_000  # calls
_POLL = 0.05  # seconds


class TrackerThread:
    """Calls a tracker in a thread of its own. No method raises an error of the tracker.

    Each point is written once, even if the run is resumed from a state before the last point: a file keeps the step of
    the last point. It is written before the point, so a process that is killed between the two loses one point.

    Args:
        kind: the kind of the tracker.
        tracker: the tracker.
        file: the file for the tracker's id of the run and the last step.

    Attributes:
        problem: why the tracker is not called any more; None if it works.
    """

    def __init__(self, kind: str, tracker: Tracker, file: Path) -> None:
        self.kind = kind
        self.problem: str | None = None
        self._tracker = tracker
        self._file = file
        self._id: str | None = None
        self._step = -1
        self._ended = -1  # the step at which the run was complete
        self._over = False
        self._calls: Queue[tuple[Callable[[], None], Event]] = Queue(_MOST_WAITING)
        Thread(target=self._work, name=f"mbert tracker {kind}", daemon=True).start()

    def start(self, run: TrackedRun, seconds: float) -> None:
        """Start or continue the run; wait at most so many seconds for it.

        Args:
            run: the run without its id, which this class keeps.
            seconds: the limit.
        """
        self._wait_for(lambda: self._start(run), seconds)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write a point; return at once."""
        self._submit(lambda: self._log(values, step))

    def end(self, ending: Ending, scores: Mapping[str, float], step: int, seconds: float) -> None:
        """End the run; wait at most so many seconds for all calls. Arguments: see `Tracker.end`."""
        self._wait_for(lambda: self._end(ending, scores, step), seconds)

    def _work(self) -> None:
        while self.problem is None and not self._over:
            call, done = self._calls.get()
            try:
                if self.problem is None:
                    call()
            except BaseException as error:  # in this thread, no signal raises an exception
                self.problem = self.problem or f"{type(error).__name__}: {reason_of(error)}"
            finally:
                done.set()

    def _submit(self, call: Callable[[], None]) -> Event:
        done = Event()
        try:
            self._calls.put_nowait((call, done))
        except Full:
            self.problem = self.problem or f"{_MOST_WAITING:,} points are waiting"
        return done

    def _wait_for(self, call: Callable[[], None], seconds: float) -> None:
        done, limit = self._submit(call), time.monotonic() + seconds
        while not done.wait(_POLL) and self.problem is None:
            if time.monotonic() > limit:
                self.problem = f"it did not answer within {seconds:.0f} s"

    def _start(self, run: TrackedRun) -> None:
        if self._file.is_file():
            kept: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            self._id, self._step, self._ended = kept["id"], kept["step"], kept["ended"]
        run.folder.mkdir(parents=True, exist_ok=True)
        self._id = self._tracker.start(replace(run, id=self._id))
        self._keep()

    def _log(self, values: Mapping[str, float], step: int) -> None:
        if step > self._step:
            self._step = step
            self._keep()
            self._tracker.log(values, step)

    def _end(self, ending: Ending, scores: Mapping[str, float], step: int) -> None:
        self._over = True
        complete = ending == "finished"
        # A complete run that is resumed has nothing new to write.
        self._tracker.end(ending, scores if complete and step > self._ended else {}, step)
        if complete:
            self._ended = step
            self._keep()

    def _keep(self) -> None:
        replace_file(self._file, json.dumps({"id": self._id, "step": self._step, "ended": self._ended}) + "\n")
