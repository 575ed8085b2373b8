"""Trackio: a local database or, if the user names one, a Space or a server."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from mbert_cli.errors import UsageError
from mbert_cli.tracking import PROJECT, Ending, TrackedRun, Tracker, is_offline

_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class Trackio(Tracker):
    """Writes runs of Trackio, to TRACKIO_DIR or the run folder, or to a Space or a server that the user names."""

    module = "trackio"
    package = "trackio"

    def start(self, run: TrackedRun) -> str:
        """Start a run, or continue it. Its name has a suffix, because Trackio knows runs by their names only."""
        remote = any(os.environ.get(name) for name in _REMOTE)
        if remote and is_offline():
            raise UsageError(f"{' or '.join(_REMOTE)} names a server, but the run is offline")
        # Trackio reads this once, when it is imported. All runs of a process have one folder: that of the ensemble for
        # its members.
        os.environ.setdefault("TRACKIO_DIR", str(run.folder))
        import trackio

        name = run.id or f"{run.name}-{uuid4().hex[:6]}"
        with _without_network(not remote):
            self._run = trackio.init(
                os.environ.get("TRACKIO_PROJECT", PROJECT),
                name=name,
                group=run.group,
                config={**run.settings, "run_folder": str(run.path)},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        return name

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of a step. Trackio writes them to its file half a second later."""
        self._run.log(dict(values), step=step)

    def end(self, ending: Ending, scores: Mapping[str, float], step: int) -> None:
        """Write the scores of the kept model, and finish the run."""
        if scores:
            self._run.log(dict(scores), step=step)
        self._run.finish()


@contextmanager
def _without_network(wanted: bool) -> Iterator[None]:
    """Let huggingface_hub refuse the network in a block: if there is a token, Trackio asks the Hub for the user."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
