"""What `--resume` needs: model, optimizer, loss balancing and position, in safetensors and JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mbert_cli.compose import component_class
from mbert_cli.curricula import Curriculum
from mbert_cli.data.batching import TaskData
from mbert_cli.errors import UsageError
from mbert_cli.hardware import Hardware
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.model import MultiTaskBert
from mbert_cli.progress import Talk
from mbert_cli.recipe import Recipe, as_spec
from mbert_cli.run_folder import RunFolder, load_tensors, read_json, read_tensors, replace_file, write_tensors


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
    origin: Mapping[str, Any],
    model: MultiTaskBert,
    optimizer: torch.optim.Optimizer,
    balancing: LossBalancing,
) -> None:
    """Write the state's files into an empty folder.

    Args:
        folder: exists.
        state: where the run stands.
        origin: what the run is made of; see `origin_of`.
        model: the model.
        optimizer: of the model's parameters.
        balancing: what it remembers is part of the state.
    """
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    moments = {
        f"{names[parameter]}|{key}": value
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }
    write_tensors(folder / "model.safetensors", model.state_dict())
    write_tensors(folder / "optimizer.safetensors", moments)
    if balancing.state_dict():  # the plain sum remembers nothing
        write_tensors(folder / "balancing.safetensors", balancing.state_dict())
    position = {**asdict(state), "best_score": None if state.best_score is None else state.best_score.hex()}
    content = {"position": position, "origin": origin}
    replace_file(folder / "state.json", json.dumps(content, indent=2) + "\n")


def read_state(
    folder: RunFolder,
    origin: Mapping[str, Any],
    model: MultiTaskBert,
    optimizer: torch.optim.Optimizer,
    balancing: LossBalancing,
    talk: Talk,
) -> TrainingState:
    """Load the newest whole state of a run into a model, its optimizer and its loss balancing.

    Returns:
        Where the run stands; the beginning where no epoch was finished.

    Raises:
        UsageError: recipe, data or hardware differ from the run's.
        CheckpointError: the state does not fit the model.
    """
    newest, problems = folder.newest_state()
    for problem in problems:
        talk.say(f"{problem} Going back to the state before it.")
    if newest is None:
        return TrainingState()
    content = read_json(newest / "state.json")
    position = content["position"]
    _check_drift(folder.path, content["origin"], origin)
    load_tensors(model, newest / "model.safetensors")
    if balancing.state_dict():
        load_tensors(balancing, newest / "balancing.safetensors")
    parameters = dict(model.named_parameters())
    for key, value in read_tensors(newest / "optimizer.safetensors").items():
        name, _, field = key.rpartition("|")
        # The step count of AdamW's fused kernel lies where the parameter lies.
        optimizer.state[parameters[name]][field] = value.to(parameters[name].device)
    score = position["best_score"]
    return TrainingState(**{**position, "best_score": None if score is None else float.fromhex(score)})


def origin_of(recipe: Recipe, data: Mapping[str, Mapping[str, TaskData]], hardware: Hardware) -> dict[str, Any]:
    """Return all that a run's result follows from: recipe (less the scores it is compared with), data and hardware.

    Args:
        recipe: the recipe.
        data: for each split each task's examples.
        hardware: what is computed on.
    """
    return {
        **{key: value for key, value in as_spec(recipe).items() if key != "reference"},
        "data": {split: {task: each.sha256() for task, each in tasks.items()} for split, tasks in data.items()},
        "hardware": {"device": hardware.device.type, "precision": hardware.precision, "kernels": hardware.kernels},
    }


# What runs were made of before there was a choice.
_LATER = {"hardware.kernels": "torch", "training.freeze_encoder": False, "training.cache_features": False}


def _check_drift(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on from another origin: the result would be neither run's."""
    before, after = {**_LATER, **_flat(then)}, _flat(now)
    curriculum: type[Curriculum] = component_class("curricula", now["curriculum"]["kind"])
    if now["training"]["schedule"] == "constant" and not curriculum.knows_the_end:
        # Without a schedule or a curriculum that knows its end, more epochs continue the very same run.
        before.pop("training.epochs")
        after.pop("training.epochs")
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if changed:
        shown = "; ".join(f"{key} was {before.get(key)!r} and is now {after.get(key)!r}" for key in changed[:5])
        raise UsageError(f"{path}: cannot resume a changed run: {shown}. Undo the change, or begin anew with --force.")


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            key: leaf for name, each in value.items() for key, leaf in _flat(each, f"{path}.{name}".strip(".")).items()
        }
    return {path: value}
