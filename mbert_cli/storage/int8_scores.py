"""The scores of a saved model in int8 and in fp32 on dev, and whether its user has accepted int8 for predictions.

They are in `int8-scores.json` in the folder of the model: the result of `compare_with_fp32`, and

model     SHA-256 of the manifest of the compared model. If the weights, tasks, thresholds or temperatures of the model
          change, the manifest changes, and the scores are not used any more
accepted  whether `mbert evaluate --accept-int8` accepted int8 for this model

Must not import torch: fast start-up.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.storage.atomic import INT8_SCORES, MANIFEST, read_json, replace_file, sha256_of
from mbert_cli.storage.model_folder import committed_model

LARGEST_LOSS = 0.003
"""The largest loss with which int8 is accepted: the main metric of a task on dev in fp32, minus that in int8."""


@dataclass(frozen=True)
class Int8Scores:
    """The content of the file.

    Args:
        content: the JSON; empty if there is no file, or if it cannot be read.
    """

    content: Mapping[str, Any]

    @classmethod
    def read(cls, run: Path) -> "Int8Scores":
        """Read the scores.

        Args:
            run: a run folder, or the folder of a saved model.

        Raises:
            CheckpointError: there is no model.
        """
        path = committed_model(run) / INT8_SCORES
        try:
            content = read_json(path) if path.exists() else {}
        except CheckpointError:
            content = {}
        tasks = content.get("tasks")
        is_whole = isinstance(tasks, dict) and tasks and all(_is_row(own) for own in tasks.values())
        return cls(content if is_whole else {})

    @property
    def accepted(self) -> bool:
        """Whether int8 was accepted for the compared model."""
        return self.content.get("accepted") is True

    def why_not(self, model: str) -> str | None:
        """Return the reason why int8 must not be used for a model; None if there is none. Acceptance is not checked.

        Args:
            model: the SHA-256 of the model's manifest.
        """
        if not self.content:
            return "its scores in int8 are not saved"
        if self.content.get("model") != model:
            return "the model has changed since then"
        task, loss = self._worst()
        if loss <= LARGEST_LOSS:
            return None
        metric = self.content["tasks"][task]["metric"]
        if loss == float("inf"):
            return f"{metric} of task {task} on dev is undefined in fp32 or in int8"
        return f"task {task} loses {_number(loss)} of {metric} on dev, and at most {_number(LARGEST_LOSS)} is allowed"

    def largest_loss(self) -> str:
        """Return the largest loss of a task, with the task, such as `.0012 (sst)`."""
        task, loss = self._worst()
        return f"{_number(loss)} ({task})"

    def _worst(self) -> tuple[str, float]:
        """Return the task with the largest loss, and this loss. It is 0 if no task loses, and infinite if undefined."""
        losses = {name: -float(own["difference"]) for name, own in self.content["tasks"].items()}
        losses = {name: float("inf") if loss != loss else max(loss, 0.0) for name, loss in losses.items()}
        return max(losses.items(), key=lambda item: item[1])


def write_scores(run: Path, comparison: Mapping[str, Any], model: str) -> None:
    """Write the scores of a model. If int8 was accepted for the same model, it stays accepted.

    Args:
        run: a run folder, or the folder of a saved model.
        comparison: the result of `compare_with_fp32` for all tasks on dev.
        model: the SHA-256 of the model's manifest.

    Raises:
        MbertError: there is no model, or the folder cannot be written to.
    """
    before = Int8Scores.read(run)
    accepted = before.accepted and before.content.get("model") == model
    _write(run, {**comparison, "split": "dev", "model": model, "accepted": accepted})


def accept(run: Path) -> str:
    """Accept int8 for a model. Return a message with the effect, one line.

    Args:
        run: a run folder, or the folder of a saved model.

    Raises:
        CheckpointError: there is no model.
        UsageError: the model was not compared, or a task loses too much; or the folder cannot be written to.
    """
    scores = Int8Scores.read(run)
    problem = scores.why_not(sha256_of(committed_model(run) / MANIFEST))
    if problem:
        raise UsageError(f"{run}: int8 is not accepted: {problem}.")
    _write(run, {**scores.content, "accepted": True})
    return f"accepted int8: mbert predict {run} now uses int8 if the processor supports it; --precision fp32 uses fp32."


def _is_row(own: Any) -> bool:
    return isinstance(own, dict) and isinstance(own.get("difference"), int | float) and "metric" in own


def _number(loss: float) -> str:
    return f"{loss:.4f}".lstrip("0") if loss < 1 else f"{loss:.4f}"


def _write(run: Path, content: Mapping[str, Any]) -> None:
    replace_file(committed_model(run) / INT8_SCORES, json.dumps(content, indent=2) + "\n")
