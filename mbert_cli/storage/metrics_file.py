"""metrics.jsonl, a run's own account of its epochs, read without torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbert_cli.errors import DataError

METRICS_FILE = "metrics.jsonl"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl, one an epoch; none where there is no such file.

    Raises:
        DataError: the file cannot be read, or a line holds something else than an epoch.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from None
    return [_epoch(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def _epoch(line: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: is not JSON ({error.msg}: column {error.colno}); remove the line.") from None
    if not isinstance(found, dict) or "epoch" not in found:
        raise DataError(f"{place}: must hold an epoch and its metrics; remove the line.")
    return found


def kept_epoch(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the line of the epoch whose model is kept: the last that was the best so far."""
    return next((line for line in reversed(lines) if line.get("best")), None)


def main_metric(metrics: Mapping[str, Any]) -> str:
    """Return the name of the metric that stands for a task; the oldest runs do not name it."""
    return metrics.get("main_metric") or ("pearson" if "pearson" in metrics else "accuracy")
