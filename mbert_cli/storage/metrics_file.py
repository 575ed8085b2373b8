"""metrics.jsonl: the record of each epoch of a run, one JSON object per line.

Must not import torch: fast start-up.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mbert_cli.errors import DataError
from mbert_cli.recipe.ending import Reason
from mbert_cli.recipe.validation_message import validation_message

METRICS_FILE = "metrics.jsonl"
_OPTIONAL = ("drift", "of_epoch", "ended")
_NOT_SCORES = ("parameters", "hardware", "seconds", "ended")


@dataclass(frozen=True)
class Seconds:
    """How long an epoch took.

    Args:
        train: its steps.
        dev: scoring the dev files.
    """

    train: float
    dev: float


@dataclass(frozen=True)
class EpochRecord:
    """The results of one round: an epoch, the steps between two evaluations, or the members of an ensemble so far.

    Args:
        epoch: number of the round, from 1: of the epoch; with `evaluate_every`, of the evaluation; for an ensemble, the
            number of members.
        step: optimizer steps since the run started.
        phases: how its epoch combined the tasks: `simultaneous`, `alternating` or `sequential`; or `ensemble`.
        rows: number of training rows of each task.
        tokens: number of training tokens.
        train_loss: mean training loss of each task.
        tasks: metrics of each task on its dev file; empty if the epoch was not scored.
        overall: mean of the main metrics; None if the epoch was not scored.
        best: whether no earlier epoch has a better score.
        parameters: sizes of `encoder`, `adapters` and `all`.
        hardware: `device` and `precision`.
        seconds: how long it took.
        drift: what differed from the start of the run when it was resumed with --allow-drift.
        of_epoch: with `evaluate_every`, the epoch of its last step; otherwise None.
        ended: why the run ended after this round; None if it went on, or if the last epoch is trained and each epoch
            has one line.
    """

    epoch: int
    step: int
    phases: str
    rows: Mapping[str, int]
    tokens: int
    train_loss: Mapping[str, float]
    tasks: Mapping[str, Mapping[str, Any]]
    overall: float | None
    best: bool
    parameters: Mapping[str, int]
    hardware: Mapping[str, str]
    seconds: Seconds
    drift: Sequence[str] = ()
    of_epoch: int | None = None
    ended: Reason | None = None

    def __post_init__(self) -> None:
        for task, metrics in self.tasks.items():
            if metrics.get("main_metric") not in metrics:
                raise ValueError(f"task {task} does not name its main_metric")

    @property
    def round_name(self) -> str:
        """What `epoch` counts: an `epoch`, an `evaluation`, or a `member` of an ensemble."""
        if self.phases == "ensemble":
            return "member"
        return "epoch" if self.of_epoch is None else "evaluation"

    def main_scores(self) -> dict[tuple[str, str], float]:
        """Return the score of each task, by the names of the task and of its main metric."""
        names = {task: metrics["main_metric"] for task, metrics in self.tasks.items()}
        return {(task, name): float(self.tasks[task][name]) for task, name in names.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the record as the JSON object of a line of metrics.jsonl."""
        values = asdict(self)
        values["drift"] = list(self.drift) or None
        return {key: value for key, value in values.items() if value is not None or key not in _OPTIONAL}

    def scores(self) -> dict[str, Any]:
        """Return only the values that a repeated run reproduces: no times, sizes or hardware."""
        return {key: value for key, value in self.as_dict().items() if key not in _NOT_SCORES}


_PARSER = TypeAdapter(EpochRecord)


def read_metrics(path: Path) -> list[EpochRecord]:
    """Return the epochs of a metrics.jsonl; none if there is no such file.

    Raises:
        DataError: the file cannot be read, or a line is not the record of an epoch.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from None
    return [_record(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def metrics_text(records: Sequence[EpochRecord]) -> str:
    """Return the content of a metrics.jsonl."""
    return "".join(json.dumps(each.as_dict()) + "\n" for each in records)


def kept_epoch(records: Sequence[EpochRecord]) -> EpochRecord | None:
    """Return the epoch whose model is kept, which is the last one that was the best so far."""
    return next((record for record in reversed(records) if record.best), None)


def is_complete(records: Sequence[EpochRecord], rounds: int | None) -> bool:
    """Whether the records are those of a run that has ended.

    Args:
        records: the content of a metrics.jsonl.
        rounds: see `TrainingSection.rounds`.
    """
    if not records or [each.epoch for each in records] != list(range(1, len(records) + 1)):
        return False
    return records[-1].ended is not None or len(records) == rounds


def ended_early(records: Sequence[EpochRecord]) -> Reason | None:
    """Return the limit that ended a run before all epochs were trained; None if there was none."""
    reason = records[-1].ended if records else None
    return None if reason == "epochs" else reason


def _record(line: str, place: str) -> EpochRecord:
    try:
        return _PARSER.validate_python(json.loads(line))
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: is not JSON ({error.msg}: column {error.colno}); remove the line.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc'])) or 'the line'} {validation_message(first)}"
        raise DataError(f"{place}: is not the record of an epoch ({problem}); remove the line.") from None
