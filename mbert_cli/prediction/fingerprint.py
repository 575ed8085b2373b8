"""The fingerprint of a prediction: everything that its output's bytes depend on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbert_cli.data.table import Table
from mbert_cli.machine.versions import versions
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.storage.atomic import sha256_of
from mbert_cli.storage.resumable_output import interrupted_fingerprint


def fingerprint_of(
    predictor: Predictor,
    table: Table,
    tasks: Sequence[str],
    format_: str,
    limit: int | None,
    kept: Sequence[str] | None = None,
    strict_length: bool = False,
) -> dict[str, Any] | None:
    """Return the fingerprint of a prediction; None if its input can be read only once.

    Args:
        predictor: the model.
        table: the input.
        tasks: the tasks that are predicted.
        format_: `same` or `cs224n`.
        limit: number of rows at most.
        kept: the columns of the input that are written; None for all.
        strict_length: whether rows that are too long are rejected.
    """
    if table.path is None or not table.path.is_file():
        return None
    fingerprint = {
        **_input(table),
        "model": predictor.saved.sha256,
        "tasks": list(tasks),
        "kept": None if kept is None else list(kept),
        "format": format_,
        **_computation(predictor, limit),
    }
    if strict_length:  # a prediction that cut rows cannot be resumed by one that rejects them
        fingerprint["strict_length"] = True
    return fingerprint


def fingerprint_of_vectors(
    predictor: Predictor,
    table: Table,
    vectors: Mapping[str, Any],
    limit: int | None,
) -> dict[str, Any]:
    """Return the fingerprint of a file of vectors.

    Args:
        predictor: the model.
        table: the input, a file.
        vectors: what is embedded, and how, as JSON.
        limit: number of rows at most.
    """
    return {
        **_input(table),
        "model": predictor.saved.sha256,
        "vectors": dict(vectors),
        **_computation(predictor, limit),
    }


def _input(table: Table) -> dict[str, Any]:
    assert table.path is not None
    return {
        "input": sha256_of(table.path),
        "reading": [table.quoting, table.delimiter, dict(table.names)],
    }


def _computation(predictor: Predictor, limit: int | None) -> dict[str, Any]:
    return {
        "limit": limit,
        "batch_size": predictor.batch_size,
        "fold": predictor.fold,
        "hardware": predictor.hardware.facts(),
        "versions": versions(),
    }


def threads_begun_with(output: Path, fingerprint: Mapping[str, Any]) -> int | None:
    """Return the number of threads that an interrupted prediction was started with.

    Args:
        output: the output file.
        fingerprint: the fingerprint of the prediction that would be resumed.

    Returns:
        None if there is no interrupted prediction, or if more than the number of threads differs.
    """
    begun = interrupted_fingerprint(output)
    try:
        threads = int(begun["hardware"]["threads"]) if begun is not None else None
    except (KeyError, TypeError, ValueError):
        return None
    same_threads = {**fingerprint, "hardware": {**fingerprint["hardware"], "threads": threads}}
    return threads if begun == json.loads(json.dumps(same_threads)) else None
