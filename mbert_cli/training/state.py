"""The state of a run, which `--resume` needs: weights, optimizer, loss balancing and position."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mbert_cli.encoder.checkpoint import load_encoder, save_weights
from mbert_cli.encoder.location import has_weights
from mbert_cli.errors import CheckpointError, UsageError, counted
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.tensor_files import load_tensors, read_tensors, size_of, write_tensors
from mbert_cli.storage.atomic import read_json
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.fingerprint import changes
from mbert_cli.training.learner import Learner

_MOST_CHANGES = 3  # in a message
_TEXTS = 4_500  # bytes of state.json and the manifest


@dataclass(frozen=True)
class RoundTotals:
    """The totals of the steps of one round.

    Args:
        rows: number of training rows of each task.
        losses: mean training loss of each task, over its rows.
        tokens: number of training tokens of all tasks.
        seconds: duration of all steps.
    """

    rows: dict[str, int]
    losses: dict[str, float]
    tokens: int
    seconds: float


@dataclass
class TrainingState:
    """How far a run is, between two steps. `tokens` and `seconds` are those of the steps of the current round.

    Args:
        epoch: number of finished epochs.
        epoch_step: number of optimizer steps since then.
        step: number of optimizer steps since the run started.
        rounds: number of finished rounds: lines of metrics.jsonl; see `training.rounds`.
        round_steps: number of optimizer steps since then.
        loss_sums: for each task, the sum of the losses of its rows in these `round_steps` steps.
        loss_rows: for each task, the number of its rows in these steps.
        tokens: number of tokens in these steps, of all tasks.
        seconds: duration of these steps.
        encoder_trained: whether a phase has trained the encoder so far.
        best_epoch: number of the round with the best score so far, whose model is kept; 0 if there is none.
        best_score: the score of that round; None if there is none.
        stale: number of scored rounds since then.
        spent: duration of the run in seconds, over all processes that continued it; 0 without `max_time`.
        drift: what had changed when the run was resumed with --allow-drift; see `fingerprint_of`.
    """

    epoch: int = 0
    epoch_step: int = 0
    step: int = 0
    rounds: int = 0
    round_steps: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_rows: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0
    encoder_trained: bool = False
    best_epoch: int = 0
    best_score: float | None = None
    stale: int = 0
    spent: float = 0.0
    drift: list[str] = field(default_factory=list)

    def count_step(self, tokens: int, seconds: float) -> None:
        """Add a step to the totals of the round. This does not change `step`, which the optimizer step has increased.

        Args:
            tokens: number of tokens of all tasks.
            seconds: duration of the step.
        """
        self.epoch_step += 1
        self.round_steps += 1
        self.tokens += tokens
        self.seconds += seconds

    def count_losses(self, losses: Mapping[str, float], rows: Mapping[str, int]) -> None:
        """Add the losses of a step to the totals of the round; a GPU returns them some steps late.

        Args:
            losses: mean loss of each task of the step.
            rows: number of rows of each task.
        """
        for task, loss in losses.items():
            self.loss_sums[task] = self.loss_sums.get(task, 0.0) + loss * rows[task]
            self.loss_rows[task] = self.loss_rows.get(task, 0) + rows[task]

    def end_epoch(self) -> None:
        """Start the next epoch."""
        self.epoch += 1
        self.epoch_step = 0

    def end_round(self, tasks: Sequence[str]) -> RoundTotals:
        """Start the next round; return the totals of the one that ended, in the order of `tasks`."""
        rows = {task: self.loss_rows[task] for task in tasks if task in self.loss_rows}
        losses = {task: self.loss_sums[task] / count for task, count in rows.items()}
        totals = RoundTotals(rows, losses, self.tokens, self.seconds)
        self.rounds += 1
        self.round_steps, self.loss_sums, self.loss_rows, self.tokens, self.seconds = 0, {}, {}, 0, 0.0
        return totals

    def keep_if_best(self, score: float, early_rounds: int) -> bool:
        """Return whether the round that just ended is the best so far, and remember it if so.

        Args:
            score: its score; higher is better.
            early_rounds: number of rounds at the start that are not selected. The previous best round may be one of
                them, if the run was resumed with more epochs.
        """
        is_best = self.best_score is None or score > self.best_score or self.best_epoch <= early_rounds
        self.stale += 1
        if is_best:
            self.best_score, self.best_epoch, self.stale = score, self.rounds, 0
        return is_best

    def position(self, epochs: int, steps_ahead: int = 0) -> str:
        """Return how far the run is, for messages.

        Args:
            epochs: number of epochs of the run.
            steps_ahead: number of steps that have started and are not counted yet.
        """
        if self.epoch == epochs:
            return f"{counted(epochs, 'epoch')} of {epochs} trained"
        return f"epoch {self.epoch + 1} of {epochs}, step {self.epoch_step + steps_ahead}"


def write_state(
    folder: Path,
    state: TrainingState,
    fingerprint: Mapping[str, Any],
    learner: Learner,
    encoder_changed: bool,
) -> None:
    """Write a state into an empty folder.

    The encoder and the tasks are written to the same files as in a saved model, so that hard links can share them.

    Args:
        folder: an existing folder.
        state: how far the run is.
        fingerprint: see `fingerprint_of`.
        learner: the model and what trains it.
        encoder_changed: whether the encoder differs from its checkpoint. Otherwise it is not written.
    """
    model, balancing = learner.model, learner.balancing
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    moments = {
        f"{names[parameter]}|{key}": value
        for parameter, values in learner.optimizer.state.items()
        for key, value in values.items()
    }
    if encoder_changed:
        (folder / "encoder").mkdir()
        save_weights(model.encoder, folder / "encoder")
    for name in model.task_names:
        write_tensors(folder / "tasks" / f"{name}.safetensors", model.task(name).state_dict())
    write_tensors(folder / "optimizer.safetensors", moments)
    if balancing.state_dict():  # some kinds of loss balancing have no state
        write_tensors(folder / "balancing.safetensors", balancing.state_dict())
    # JSON preserves every finite float exactly.
    content = {"position": asdict(state), "origin": fingerprint}
    (folder / "state.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def state_size(model: MultiTaskBert, balancing: LossBalancing, encoder_trains: bool, encoder_changed: bool) -> int:
    """Return the approximate size of a state in bytes: all weights, and two moments of AdamW for those that train.

    Args:
        model: the model.
        balancing: the loss balancing, whose values are part of the state.
        encoder_trains: whether the encoder has been trained, not only the adapters and heads.
        encoder_changed: whether the encoder differs from its checkpoint.
    """
    own = [model.task(name) for name in model.task_names]
    trained = [each for part in ([model] if encoder_trains else own) for each in part.parameters()]
    balancing_values = [each for each in balancing.state_dict().values() if isinstance(each, torch.Tensor)]
    saved = [each for part in ([model.encoder] * encoder_changed + own) for each in part.state_dict().values()]
    return size_of([*saved, *trained, *trained, *balancing_values]) + _TEXTS


def read_state(
    folder: RunFolder,
    fingerprint: Mapping[str, Any],
    learner: Learner,
    console: Console,
    allow_drift: bool = False,
) -> TrainingState:
    """Load the newest undamaged state of a run into a learner.

    Args:
        folder: the run folder.
        fingerprint: the fingerprint of the run as it would continue; see `fingerprint_of`.
        learner: the model and what trains it.
        console: where damaged states and allowed changes are printed.
        allow_drift: continue even if the fingerprint has changed.

    Returns:
        How far the run is; a new state if none has been saved yet.

    Raises:
        UsageError: recipe, data, hardware or versions have changed, and `allow_drift` is not set.
        CheckpointError: all states are damaged, or the state is from before 0.1.0, or it does not fit the model.
    """
    newest, problems = folder.newest_state()
    for problem in problems:
        console.info(f"{problem} Using the state before it.")
    if newest is None:
        return TrainingState()
    if not (newest / "tasks").is_dir():  # no damage, because the manifest matches
        raise CheckpointError(
            f"{newest}: was saved by a version before 0.1.0, whose runs cannot be resumed; start over with --force."
        )
    content = read_json(newest / "state.json")
    changed = changes(content["origin"], fingerprint)
    if changed and not allow_drift:
        more = len(changed) - _MOST_CHANGES
        shown = "; ".join(changed[:_MOST_CHANGES]) + (f"; and {more} more" if more > 0 else "")
        raise UsageError(
            f"{folder.path}: cannot resume a changed run: {shown}. Undo the change; or start over with --force; or "
            "continue with --allow-drift: the result then matches neither the old settings nor the new ones."
        )
    _load_weights(newest, learner.model)
    same_balancing = content["origin"]["loss_balancing"] == fingerprint["loss_balancing"]
    if learner.balancing.state_dict() and same_balancing:
        load_tensors(learner.balancing, newest / "balancing.safetensors")
    parameters = dict(learner.model.named_parameters())
    for key, value in read_tensors(newest / "optimizer.safetensors").items():
        name, _, moment = key.rpartition("|")
        # AdamW's fused kernel needs its step count on the device of the parameter.
        learner.optimizer.state[parameters[name]][moment] = value.to(parameters[name].device)
    position = content["position"]
    # Before there were rounds, each epoch was one.
    position.setdefault("rounds", position["epoch"])
    position.setdefault("round_steps", position["epoch_step"])
    state = TrainingState(**position)
    for each in changed:
        console.info(f"{folder.path}: {each}; continuing because of --allow-drift.")
    state.drift += [f"epoch {state.epoch + 1}, step {state.epoch_step}: {each}" for each in changed]
    return state


def _load_weights(folder: Path, model: MultiTaskBert) -> None:
    if has_weights(folder / "encoder"):
        encoder, _ = load_encoder(folder / "encoder", model.encoder.shape)
        model.encoder.load_state_dict(encoder.state_dict())
    for name in model.task_names:
        load_tensors(model.task(name), folder / "tasks" / f"{name}.safetensors")


def threads_of_run(folder: RunFolder) -> int | None:
    """Return the number of threads that a resumable run was started with; None if there is no state."""
    for state in folder.state_folders():
        try:
            return int(read_json(state / "state.json")["origin"]["hardware"]["threads"])
        except (CheckpointError, KeyError, TypeError, ValueError):
            continue  # damaged, which `read_state` reports; try the state before it
    return None
