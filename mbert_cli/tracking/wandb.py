"""Weights & Biases: files to upload later or, if the user asks for it, a server."""

import os
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from mbert_cli.tracking import PROJECT, Ending, TrackedRun, Tracker, is_offline

_EXIT_CODES = {"finished": 0, "failed": 1, "stopped": 130}
# Parts of wandb that are off unless the user's environment variables turn them on.
_DEFAULTS: dict[str, Any] = {
    "console": "off",  # mbert prints its own messages
    "silent": True,
    "save_code": False,
    "disable_git": True,
    "x_disable_stats": True,  # it would ask the machine's cloud provider for its name
    "finish_timeout": 60.0,
}


class WandB(Tracker):
    """Writes runs of Weights & Biases. Without WANDB_MODE they are offline, even for a user who has logged in."""

    module = "wandb"
    package = "wandb"

    def start(self, run: TrackedRun) -> str:
        """Start a run, or another part of it with the same id."""
        # Otherwise wandb reports its own errors to its makers, also offline. It reads this when it is imported.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        chosen = {name: value for name, value in _DEFAULTS.items() if f"WANDB_{name.upper()}" not in os.environ}
        mode = "offline" if is_offline() else os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=os.environ.get("WANDB_DIR", str(run.folder)),
            id=run.id or uuid4().hex[:8],
            resume="allow",
            name=run.name,
            group=os.environ.get("WANDB_RUN_GROUP", run.group),
            config={**run.settings, "run_folder": str(run.path)},
            mode=mode,
            settings=wandb.Settings(**chosen),
        )
        return str(self._run.id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of a step, at once."""
        self._run.log(dict(values), step=step, commit=True)

    def end(self, ending: Ending, scores: Mapping[str, float], step: int) -> None:
        """Write the scores of the kept model to the run's summary, and finish the run."""
        self._run.summary.update(dict(scores))
        self._run.finish(exit_code=_EXIT_CODES[ending])
