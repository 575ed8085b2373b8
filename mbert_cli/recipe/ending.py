"""Why a run has ended."""

from typing import Literal

from mbert_cli.errors import counted
from mbert_cli.recipe.sections import Recipe, TrainingSection

Reason = Literal["epochs", "patience", "max_steps", "max_time", "pruned"]
"""All epochs are trained, or the limit that ended the run; or a search ended it, because other trials score higher."""


def why_ended(reason: Reason, training: TrainingSection) -> str:
    """Return why a run has ended, as the end of a sentence."""
    if reason == "patience":
        count = counted(training.patience or 0, "epoch" if training.evaluate_every is None else "evaluation")
        return f"the score did not improve for {count} (training.patience)"
    if reason == "epochs":
        return "all epochs are trained"
    if reason == "pruned":
        return "its score is below the median of earlier trials of the search"
    limit = f"{training.max_steps:,}" if reason == "max_steps" else training.max_time
    return f"training.{reason} is {limit}"


def ending_warnings(recipe: Recipe, steps: int) -> list[str]:
    """Return a warning for each limit that has no effect, or an effect that few expect.

    Args:
        recipe: the recipe.
        steps: number of steps of the run, at most `max_steps`.
    """
    training, every = recipe.training, recipe.training.evaluate_every
    warnings = []
    if training.max_steps is not None and steps < training.max_steps:
        warnings.append(
            f"training.max_steps is {training.max_steps:,}, but {counted(training.epochs, 'epoch')} have "
            f"{counted(steps, 'step')}; set training.epochs higher for a longer run"
        )
    if every is not None and every >= steps:
        warnings.append(
            f"training.evaluate_every is {every:,}, but the run has {counted(steps, 'step')}: dev is scored "
            "once, at the end"
        )
    most = training.epochs if every is None else -(-steps // every)
    if training.patience is not None and training.patience >= most:
        warnings.append(
            f"training.patience is {training.patience:,} and cannot end the run, which has "
            f"{counted(most, 'epoch' if every is None else 'evaluation')}; set it lower"
        )
    elif training.patience == 1 and every is None and recipe.curriculum.kind == "hybrid":
        warnings.append(
            "training.patience is 1: an epoch of curriculum hybrid that trains only adapters and heads may end the "
            "run; 2 includes an epoch of either kind"
        )
    return warnings
