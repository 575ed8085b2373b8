"""What `--resume` needs: model, optimizer, loss balancing and position, in safetensors and JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mbert_cli.curricula import Curriculum
from mbert_cli.data.batching import TaskData
from mbert_cli.encoder.checkpoint import load_encoder, save_weights
from mbert_cli.encoder.location import has_weights
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.machine.hardware import Hardware
from mbert_cli.machine.versions import versions
from mbert_cli.model.components import component_class
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.tensor_files import load_tensors, read_tensors, size_of, write_tensors
from mbert_cli.recipe.differences import differences, flat, result_spec
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import read_json
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console

_TEXTS = 4_500  # bytes of state.json and of the manifest


@dataclass
class TrainingState:
    """Where a run stands, between two steps.

    Args:
        epoch: the last finished one; 0 before the first.
        epoch_step: optimizer steps taken since.
        step: optimizer steps taken since the run began.
        loss_sums: for each task the losses of those of `epoch_step`, each times its rows.
        loss_rows: for each task its rows in them.
        tokens: read in them, by all tasks.
        seconds: how long they took.
        encoder_trained: whether any phase trained the encoder.
        best_epoch: the epoch whose model is kept.
        best_score: its score.
        drift: what was changed when the run was resumed nevertheless; see `fingerprint_of`.
    """

    epoch: int = 0
    epoch_step: int = 0
    step: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_rows: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0
    encoder_trained: bool = False
    best_epoch: int = 0
    best_score: float | None = None
    drift: list[str] = field(default_factory=list)

    def count(self, task: str, loss: float, rows: int) -> None:
        """Add a batch's mean loss to the epoch's."""
        self.loss_sums[task] = self.loss_sums.get(task, 0.0) + loss * rows
        self.loss_rows[task] = self.loss_rows.get(task, 0) + rows

    def end_epoch(self) -> dict[str, float]:
        """Go over to the next epoch; return each task's mean loss of the one that ended."""
        means = {task: total / self.loss_rows[task] for task, total in self.loss_sums.items()}
        self.epoch += 1
        self.epoch_step, self.loss_sums, self.loss_rows, self.tokens, self.seconds = 0, {}, {}, 0, 0.0
        return means


def write_state(
    folder: Path,
    state: TrainingState,
    fingerprint: Mapping[str, Any],
    model: MultiTaskBert,
    optimizer: torch.optim.Optimizer,
    balancing: LossBalancing,
    encoder_changed: bool,
) -> None:
    """Write the state's files into an empty folder; encoder and tasks as a saved model has them, to share the bytes.

    Args:
        folder: exists.
        state: where the run stands.
        fingerprint: what the run is made of; see `fingerprint_of`.
        model: the model.
        optimizer: of the model's parameters.
        balancing: what it remembers is part of the state.
        encoder_changed: whether the encoder differs from its checkpoint; one that does not is not saved.
    """
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    moments = {
        f"{names[parameter]}|{key}": value
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }
    if encoder_changed:
        (folder / "encoder").mkdir()
        save_weights(model.encoder, folder / "encoder")
    for name in model.task_names:
        write_tensors(folder / "tasks" / f"{name}.safetensors", model.task(name).state_dict())
    write_tensors(folder / "optimizer.safetensors", moments)
    if balancing.state_dict():  # the plain sum remembers nothing
        write_tensors(folder / "balancing.safetensors", balancing.state_dict())
    # JSON gives back every finite float as it was.
    content = {"position": asdict(state), "origin": fingerprint}
    (folder / "state.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def state_size(model: MultiTaskBert, balancing: LossBalancing, encoder_trains: bool, encoder_changed: bool) -> int:
    """Return about how many bytes `write_state` writes: the weights, and AdamW's two moments of those that train.

    Args:
        model: the model.
        balancing: what it remembers is part of the state.
        encoder_trains: whether more than the tasks' own parts trains in any phase.
        encoder_changed: whether the encoder's weights will differ from the checkpoint's.
    """
    own = [model.task(name) for name in model.task_names]
    trained = [each for part in ([model] if encoder_trains else own) for each in part.parameters()]
    remembered = [each for each in balancing.state_dict().values() if isinstance(each, torch.Tensor)]
    saved = [each for part in ([model.encoder] * encoder_changed + own) for each in part.state_dict().values()]
    return size_of([*saved, *trained, *trained, *remembered]) + _TEXTS


def read_state(
    folder: RunFolder,
    fingerprint: Mapping[str, Any],
    model: MultiTaskBert,
    optimizer: torch.optim.Optimizer,
    balancing: LossBalancing,
    console: Console,
    allow_drift: bool = False,
) -> TrainingState:
    """Load the newest whole state of a run into a model, its optimizer and its loss balancing.

    Returns:
        Where the run stands; the beginning where nothing was saved yet.

    Raises:
        UsageError: recipe, data, hardware or versions differ from the run's, and `allow_drift` is not set.
        CheckpointError: no state is whole, or it does not fit the model.
    """
    newest, problems = folder.newest_state()
    for problem in problems:
        console.info(f"{problem} Going back to the state before it.")
    if newest is None:
        return TrainingState()
    content = read_json(newest / "state.json")
    changed = _changes(content["origin"], fingerprint)
    if changed and not allow_drift:
        shown = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise UsageError(
            f"{folder.path}: cannot resume a changed run: {shown}. Undo the change; or go on with --allow-drift to a "
            "result that is neither run's; or begin anew with --force."
        )
    _load_weights(newest, model)
    same_balancing = content["origin"]["loss_balancing"] == fingerprint["loss_balancing"]
    if balancing.state_dict() and same_balancing:
        load_tensors(balancing, newest / "balancing.safetensors")
    parameters = dict(model.named_parameters())
    for key, value in read_tensors(newest / "optimizer.safetensors").items():
        name, _, moment = key.rpartition("|")
        # The step count of AdamW's fused kernel lies where the parameter lies.
        optimizer.state[parameters[name]][moment] = value.to(parameters[name].device)
    state = _position(content["position"])
    for each in changed:
        console.info(f"{folder.path}: {each}; going on, as --allow-drift says.")
    state.drift += [f"epoch {state.epoch + 1}, step {state.epoch_step}: {each}" for each in changed]
    return state


def _load_weights(folder: Path, model: MultiTaskBert) -> None:
    if (folder / "model.safetensors").is_file():  # as states were written before
        load_tensors(model, folder / "model.safetensors")
        return
    if has_weights(folder / "encoder"):
        encoder, _ = load_encoder(folder / "encoder", model.encoder.shape)
        model.encoder.load_state_dict(encoder.state_dict())
    for name in model.task_names:
        load_tensors(model.task(name), folder / "tasks" / f"{name}.safetensors")


def _position(values: Mapping[str, Any]) -> TrainingState:
    score = values["best_score"]
    # As states were written before there was `epoch_step`.
    return TrainingState(**{**values, "best_score": float.fromhex(score) if isinstance(score, str) else score})


def threads_begun_with(folder: RunFolder) -> int | None:
    """Return how many threads a training computed with that can be resumed; None where there is none."""
    for state in folder.state_folders():
        try:
            return int(read_json(state / "state.json")["origin"]["hardware"]["threads"])
        except (CheckpointError, KeyError, TypeError, ValueError):
            continue  # an older one is looked at; `read_state` reports the damage
    return None


def fingerprint_of(
    recipe: Recipe, data: Mapping[str, Mapping[str, TaskData]], hardware: Hardware, encoder: str
) -> dict[str, Any]:
    """Return all that the bytes of a run's result follow from: recipe, data, hardware and versions.

    Args:
        recipe: the recipe; what it says of scores to compare with and of saving states is left out.
        data: for each split each task's examples.
        hardware: what is computed on.
        encoder: the SHA-256 of the weights that the encoder begins with.
    """
    return {
        **result_spec(recipe),
        "encoder_sha256": encoder,
        "rows": {split: {task: len(each) for task, each in tasks.items()} for split, tasks in data.items()},
        "data": {split: {task: each.sha256() for task, each in tasks.items()} for split, tasks in data.items()},
        "hardware": hardware.facts(),
        "versions": versions(),
    }


# What runs were made of before there was a choice.
_LATER = {
    "hardware.kernels": "torch",
    "training.freeze_encoder": False,
    "training.cache_features": False,
    "training.strict_length": False,
    "training.select_after": 0.0,
    "training.layer_decay": 1.0,
    "encoder.reinitialise": 0,
    "encoder.dropout": None,
}
# What the first runs do not tell.
_UNTOLD = ("rows.", "versions.", "hardware.threads", "hardware.instructions")


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two origins, a sentence each."""
    before, after = {**_LATER, **flat(then)}, flat(now)
    for key, value in after.items():
        if key.startswith(_UNTOLD):
            before.setdefault(key, value)
    curriculum: type[Curriculum] = component_class("curricula", now["curriculum"]["kind"])
    annealed = any(task.get("soft_labels") == "annealed" for task in now["tasks"].values())
    knows_the_end = curriculum.knows_the_end or now["training"]["select_after"] > 0 or annealed
    if now["training"]["schedule"] == "constant" and not knows_the_end:
        # Without a schedule, a curriculum or a choice that knows the end, more epochs continue the very same run.
        before.pop("training.epochs")
        after.pop("training.epochs")
    for key in _same_contents(before, after):
        before.pop(key, None)
        after.pop(key, None)
    return differences(before, after)


def _same_contents(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys that say where files are, of files whose contents are the same: a path changes no result."""
    keys = [key for key in after if re.fullmatch(r"tasks\..*\.test", key)]  # no training reads it
    for split in ("train", "dev"):
        for key in [key for key in after if key.startswith(f"data.{split}.")]:
            if before.get(key) == after[key]:
                keys.append(f"tasks.{key.removeprefix(f'data.{split}.')}.{split}")
    if before.get("encoder_sha256") in (None, after["encoder_sha256"]):
        # What the first runs do not tell.
        keys.append("encoder_sha256")
    if before.get("encoder_sha256") == after["encoder_sha256"]:
        keys += [f"encoder.{key}" for key in ("checkpoint", "revision", "sha256")]
    return keys
