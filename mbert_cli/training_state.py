"""What `--resume` needs: the model, the optimizer and the position, in safetensors and JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.hardware import Hardware
from mbert_cli.model import MultiTaskBert
from mbert_cli.progress import Talk
from mbert_cli.recipe import Recipe, as_spec
from mbert_cli.run_folder import RunFolder, read_json, read_tensors, replace_file, write_tensors


@dataclass
class TrainingState:
    """Where a run stands between epochs.

    Args:
        epoch: the last finished one; 0 before the first.
        step: optimizer steps taken.
        encoder_trained: whether any phase trained the encoder.
        best_epoch: the epoch whose model is kept.
        best_score: its score.
    """

    epoch: int = 0
    step: int = 0
    encoder_trained: bool = False
    best_epoch: int = 0
    best_score: float | None = None


def write_state(
    folder: Path,
    state: TrainingState,
    recipe: Recipe,
    hardware: Hardware,
    model: MultiTaskBert,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state's files into an empty folder."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    moments = {
        f"{names[parameter]}|{key}": value
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }
    write_tensors(folder / "model.safetensors", model.state_dict())
    write_tensors(folder / "optimizer.safetensors", moments)
    position = {**asdict(state), "best_score": None if state.best_score is None else state.best_score.hex()}
    content = {"position": position, "recipe": as_spec(recipe), "hardware": _hardware(hardware)}
    replace_file(folder / "state.json", json.dumps(content, indent=2) + "\n")


def read_state(
    folder: RunFolder,
    recipe: Recipe,
    hardware: Hardware,
    model: MultiTaskBert,
    optimizer: torch.optim.Optimizer,
    talk: Talk,
) -> TrainingState:
    """Load the newest whole state of a run into a model and its optimizer.

    Returns:
        Where the run stands; the beginning where no epoch was finished.

    Raises:
        UsageError: recipe or hardware differ from the run's.
        CheckpointError: the state does not fit the model.
    """
    newest, problems = folder.newest_state()
    for problem in problems:
        talk.say(f"{problem} Going back to the state before it.")
    if newest is None:
        return TrainingState()
    content = read_json(newest / "state.json")
    position = content["position"]
    _check_drift(folder.path, content, recipe, hardware)
    try:
        model.load_state_dict(read_tensors(newest / "model.safetensors"))
    except RuntimeError as error:
        raise CheckpointError(f"{newest}: does not fit the recipe: {str(error).splitlines()[-1].strip()}") from None
    parameters = dict(model.named_parameters())
    for key, value in read_tensors(newest / "optimizer.safetensors").items():
        name, _, field = key.rpartition("|")
        # The step count of AdamW's fused kernel lies where the parameter lies.
        optimizer.state[parameters[name]][field] = value.to(parameters[name].device)
    score = position["best_score"]
    return TrainingState(**{**position, "best_score": None if score is None else float.fromhex(score)})


def _hardware(hardware: Hardware) -> dict[str, str]:
    return {"device": hardware.device.type, "precision": hardware.precision}


def _check_drift(path: Path, content: Mapping[str, Any], recipe: Recipe, hardware: Hardware) -> None:
    """Refuse to go on with another recipe: the result would be neither run's."""
    now, then = _flat(as_spec(recipe)), _flat(content["recipe"])
    if recipe.training.schedule == "constant":
        # Without a schedule that knows its end, more epochs continue the very same run.
        now.pop("training.epochs")
        then.pop("training.epochs")
    now |= _flat(_hardware(hardware))
    then |= _flat(content["hardware"])
    changed = [key for key in {**then, **now} if now.get(key) != then.get(key)]
    if changed:
        shown = "; ".join(f"{key} was {then.get(key)!r} and is now {now.get(key)!r}" for key in changed[:5])
        raise UsageError(f"{path}: cannot resume a changed run: {shown}. Undo the change, or begin anew with --force.")


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            key: leaf for name, each in value.items() for key, leaf in _flat(each, f"{path}.{name}".strip(".")).items()
        }
    return {path: value}
