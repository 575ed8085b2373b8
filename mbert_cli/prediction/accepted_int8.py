"""Load the model of `mbert predict`: `--precision auto` is int8 if the user has accepted that for this model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbert_cli.machine.hardware import choose, why_not_int8
from mbert_cli.prediction.predictor import Predictor
from mbert_cli.storage.atomic import MANIFEST, sha256_of
from mbert_cli.storage.int8_scores import Int8Scores
from mbert_cli.storage.model_folder import committed_model
from mbert_cli.terminal.console import Console


def load_to_predict(run: Path, options: Mapping[str, Any], console: Console) -> Predictor:
    """Load a model for predictions.

    Args:
        run: a run folder, or the folder of a saved model.
        options: options of `Predictor`.
        console: if int8 was accepted, prints whether it is used; otherwise, prints the precision with --verbose.

    Raises:
        MbertError: see `Predictor`.
    """
    scores = Int8Scores.read(run)
    if options.get("precision", "auto") != "auto" or not scores.accepted:
        predictor = Predictor(run, **options)
        console.detail(f"precision: {predictor.hardware.precision}")
        return predictor
    problem = _why_not_here(options) or scores.why_not(sha256_of(committed_model(run) / MANIFEST))
    if problem is None:
        predictor = Predictor(run, **{**options, "precision": "int8"})
        problem = scores.why_not(predictor.saved.sha256)  # another process may have replaced the model
    if problem is None:
        console.note(f"precision: int8, as accepted; the largest loss on dev is {scores.largest_loss()}.")
        return predictor
    predictor = Predictor(run, **options)
    console.note(f"precision: {predictor.hardware.precision}; int8 was accepted, but is not used: {problem}.")
    return predictor


def _why_not_here(options: Mapping[str, Any]) -> str | None:
    """Return why int8 is not used with these options on this machine; None if it is."""
    if options.get("fold"):
        return "with --fold, the weights are not those that were compared"
    hardware = choose(options.get("device", "auto"), "auto", options.get("kernels", "auto"), prediction=True)
    if hardware.kernels != "fused":
        return "the fused kernels are not used"
    return why_not_int8(hardware.device)
