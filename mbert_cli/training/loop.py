"""The loop of a training: epochs, phases and steps; what is counted, checked and committed between them."""

import math
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbert_cli.batch import Batch
from mbert_cli.curricula import Curriculum, Phase
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.rowwise_adamw import RowwiseAdamW
from mbert_cli.errors import CheckpointError, NotFiniteError, Stopped, counted
from mbert_cli.evaluation.evaluate import evaluate
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.machine.hardware import Hardware
from mbert_cli.machine.signals import deferred, ignore_further_signals, stopped_by
from mbert_cli.metrics import LOWER_IS_BETTER
from mbert_cli.model.components import build
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.parameter_count import parameter_counts
from mbert_cli.model.saved_model import write_model
from mbert_cli.randomness import derive
from mbert_cli.recipe.sections import Recipe
from mbert_cli.reports.evaluation_folder import Evaluation, write_evaluation
from mbert_cli.reports.figures import draw_figures
from mbert_cli.storage.metrics_file import EpochRecord, Seconds
from mbert_cli.storage.run_folder import RunFolder, Write
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.throughput import ThroughputMeter
from mbert_cli.training.checks import has_inner_adapters
from mbert_cli.training.console import print_epoch
from mbert_cli.training.datasets import TrainingData
from mbert_cli.training.distillation import SoftLabels
from mbert_cli.training.encoder_dropout import EncoderDropout
from mbert_cli.training.optimizer import clip_gradients, learning_rate_factor
from mbert_cli.training.pair_order import PairOrder
from mbert_cli.training.run_size import run_size
from mbert_cli.training.state import TrainingState, write_state
from mbert_cli.training.step import shared_of
from mbert_cli.training.time_left import WITH_INNER_ADAPTERS, WITHOUT_INNER_ADAPTERS, TimeLeft, work_of
from mbert_cli.training.token_dropout import TokenDropout


class TrainingRun:
    """The loop over epochs, phases and steps, ready to `run`; `prepare` makes it, `step` takes one step of it."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        hardware: Hardware,
        console: Console,
        model: MultiTaskBert,
        tokenizer: Tokenizer,
        optimizer: RowwiseAdamW,
        balancing: LossBalancing,
        data: TrainingData,
        state: TrainingState,
        fingerprint: Mapping[str, Any],
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.hardware = hardware
        self.console = console
        self.model = model
        self.tokenizer = tokenizer
        self.optimizer = optimizer
        self.data = data
        self.state = state
        self.fingerprint = fingerprint
        self.balancing = balancing
        self._note_save()
        shares = {name: task.token_dropout for name, task in recipe.tasks.items()}
        self.pairs = PairOrder(data.train, recipe.training.seed)
        self.token_dropout = TokenDropout(shares, tokenizer, recipe.training.seed)
        self.encoder_dropout = EncoderDropout(
            model.encoder, {name: task.encoder_dropout for name, task in recipe.tasks.items()}
        )
        self.curriculum: Curriculum = build("curricula", recipe.curriculum, recipe.training.epochs)
        self.total_steps = 0
        balanced = False
        for epoch in range(1, recipe.training.epochs + 1):
            for phase in self.phases(epoch):
                self.total_steps += len(phase.steps)
                balanced = balanced or any(len(tasks) > 1 for tasks in phase.steps)
        self.soft_labels = SoftLabels({name: task.soft_labels for name, task in recipe.tasks.items()}, self.total_steps)
        self.throughput = ThroughputMeter()
        self.time_left = self._time_left()
        if not balanced and recipe.loss_balancing.kind != "total":
            console.info(
                f"loss_balancing {recipe.loss_balancing.kind} has no effect: under curriculum {recipe.curriculum.kind} "
                "every step of this run holds one task only."
            )

    def _time_left(self) -> TimeLeft:
        """Return the estimator of the time that is left, with all that is left to do."""
        training, state = self.recipe.training, self.state
        epochs = range(state.epoch + 1, training.epochs + 1)
        phases = [(phase, self.trains_everything(phase)) for epoch in epochs for phase in self.phases(epoch)]
        rows = {task: float(data.lengths.mean()) for task, data in self.data.train.items()}
        scored = sum(epoch > training.early_epochs for epoch in epochs)
        tokens = sum(int(data.lengths.sum()) for data in self.data.dev.values())
        size = run_size(self.recipe, self.model, self.tokenizer, self.balancing, self.data)
        cost = WITH_INNER_ADAPTERS if has_inner_adapters(self.recipe) else WITHOUT_INNER_ADAPTERS
        return TimeLeft(work_of(phases, rows, state.epoch_step), scored, tokens, len(epochs), size.save_seconds, cost)

    def phases(self, epoch: int) -> list[Phase]:
        """Return the phases of an epoch, in order."""
        return self.curriculum.phases(epoch, self.data.sizes, self.recipe.training.batch_size)

    def run(self) -> EpochRecord:
        """Train all that is left; return the epoch whose model was kept.

        Raises:
            MbertError: as `fit` says.
            Stopped: a signal asked for it; progress was saved.
        """
        try:
            for epoch in range(self.state.epoch + 1, self.recipe.training.epochs + 1):
                self._train(epoch)
                trained = time.monotonic()
                with deferred():
                    self.optimizer.catch_up()
                evaluation = self._evaluate(epoch)
                scored = time.monotonic()
                if evaluation is not None:
                    self.time_left.evaluated(scored - trained)
                with deferred():
                    self._commit_epoch(evaluation, scored - trained)
                self.time_left.saved(time.monotonic() - scored)
            best = self._best()
            draw_figures(self.folder, self.console)
        except BaseException as error:
            stop = stopped_by(error)
            if stop is None:
                raise
            ignore_further_signals()
            self._save_progress()
            raise Stopped(stop.number, f"{self.folder.path}: stopped; {self._where()}, saved. {_REMEDY}") from None
        return best

    def _evaluate(self, epoch: int) -> Evaluation | None:
        """Score the dev files, unless the model of the epoch will not be kept, whatever its scores."""
        training = self.recipe.training
        if epoch <= training.early_epochs:
            return None
        with self.console.status(f"epoch {epoch}/{training.epochs}: scoring the dev files"):
            return evaluate(self.model, self.data.dev)

    def _train(self, epoch: int) -> None:
        """Train what is left of an epoch."""
        training, state = self.recipe.training, self.state
        ahead = state.epoch_step
        for phase in self.phases(epoch):
            taken = min(ahead, len(phase.steps))
            ahead -= taken
            if taken == len(phase.steps):
                continue
            everything = self.begin(phase)
            tasks = "all tasks" if len(phase.rows) > 1 else next(iter(phase.rows))
            frozen = "" if everything else ", encoder frozen"
            batches = phase.batches(self.data.sizes, training.batch_size, training.seed, epoch)
            with self.console.steps(f"epoch {epoch}/{training.epochs} {tasks}{frozen}", len(phase.steps)) as bar:
                bar.advance(by=taken)
                for rows in islice(batches, taken, None):
                    self._advance(rows, everything)
                    bar.advance(lambda: self.throughput.note(self.time_left.seconds()))

    def begin(self, phase: Phase) -> bool:
        """Let train what trains in a phase; return whether that is everything."""
        everything = self.trains_everything(phase)
        self.model.train_only(None if everything else list(phase.rows))
        self.state.encoder_trained |= everything
        return everything

    def trains_everything(self, phase: Phase) -> bool:
        """Whether a phase trains the encoder, too."""
        return phase.trains == "everything" and not self.recipe.training.freeze_encoder

    def _advance(self, rows: Mapping[str, np.ndarray], everything: bool) -> None:
        """Take a step and account for it; save the state where it is time to."""
        started = time.monotonic()
        with deferred():
            losses = self.step(rows)
            for task, loss in losses.items():
                self.state.count(task, loss, len(rows[task]))
            self.state.epoch_step += 1
            seconds = time.monotonic() - started
            self.state.seconds += seconds
            tokens = sum(self.data.train[task].count_tokens(own) for task, own in rows.items())
            self.state.tokens += tokens
            self.throughput.count(seconds, tokens, losses)
            self.time_left.step((tuple(rows), everything), seconds, tokens)
            if self._state_is_due():
                self._save_progress()

    def _state_is_due(self) -> bool:
        every = self.recipe.training.state_every
        if isinstance(every, int):
            return self.state.epoch_step % every == 0
        return every is not None and time.monotonic() - self._saved_time >= 60 * int(every.removesuffix("min"))

    def _save_progress(self) -> None:
        """Commit the state, if steps were taken since the last one was committed."""
        if self.state.step != self._saved_step:
            self._check_weights()
            state, keep = self.state, self.recipe.training.keep
            self.folder.commit_state(state.epoch, state.epoch_step, self._write_state, keep)
            self._note_save()

    def _note_save(self) -> None:
        self._saved_step, self._saved_time = self.state.step, time.monotonic()

    def _commit_epoch(self, evaluation: Evaluation | None, dev_seconds: float) -> None:
        """Account for an epoch that was trained, and evaluated if it can be the best, and commit it."""
        training, state = self.recipe.training, self.state
        self._check_weights()
        self.balancing.end_epoch()
        seconds = Seconds(round(state.seconds, 3), round(dev_seconds, 3))
        rows = {task: state.loss_rows[task] for task in self.data.train if task in state.loss_rows}
        tokens = state.tokens
        losses = state.end_epoch()
        score = None if evaluation is None else selected(evaluation.metrics, training.select)
        # The one before was early if the run has been made longer since, or by an older version.
        is_best = score is not None and (
            state.best_score is None or score > state.best_score or state.best_epoch <= training.early_epochs
        )
        if is_best:
            state.best_score, state.best_epoch = score, state.epoch
        record = EpochRecord(
            epoch=state.epoch,
            step=state.step,
            phases=self._order(state.epoch),
            rows=rows,
            tokens=tokens,
            train_loss={task: losses[task] for task in self.data.train if task in losses},
            tasks={} if evaluation is None else evaluation.metrics["tasks"],
            overall=None if evaluation is None else evaluation.metrics["overall"],
            best=is_best,
            parameters=parameter_counts(self.model),
            hardware={"device": self.hardware.device.type, "precision": self.hardware.precision},
            seconds=seconds,
            drift=tuple(state.drift),
        )
        # The model is written without the times: a repeated run gives the same bytes.
        best = (self._model_writer(record), self._evaluation_writer(evaluation)) if evaluation and is_best else None
        self.folder.commit_epoch(record, self._write_state, training.keep, best)
        self._note_save()
        print_epoch(self.console, record, training.epochs)

    def _write_state(self, at: Path) -> None:
        changed = self._encoder_changed()
        write_state(at, self.state, self.fingerprint, self.model, self.optimizer, self.balancing, changed)

    def _encoder_changed(self) -> bool:
        """Whether the encoder differs from its checkpoint."""
        return self.state.encoder_trained or self.recipe.encoder.reinitialise != 0

    def _model_writer(self, record: EpochRecord) -> Write:
        changed = self._encoder_changed()
        return lambda at: write_model(at, self.model, self.recipe, self.tokenizer, changed, record.scores())

    def _evaluation_writer(self, evaluation: Evaluation) -> Write:
        files = {name: {"file": task.dev} for name, task in self.recipe.tasks.items()}
        found = evaluation.of("dev", files, epoch=self.state.epoch, max_length=self.recipe.training.max_length)
        return lambda at: write_evaluation(at, found)

    def _best(self) -> EpochRecord:
        """Return the epoch whose model was kept."""
        found = next((each for each in self.folder.read_metrics() if each.epoch == self.state.best_epoch), None)
        if found is None:
            raise CheckpointError(
                f"{self.folder.metrics_file}: has no line of epoch {self.state.best_epoch}, whose model is kept; "
                "put the file back, or begin anew with --force."
            )
        return found

    def _where(self, ahead: int = 0) -> str:
        """Return how far the run has come, for messages; `ahead` counts steps that are being taken."""
        epoch, step, epochs = self.state.epoch + 1, self.state.epoch_step + ahead, self.recipe.training.epochs
        return (
            f"epoch {epoch} of {epochs}, step {step}"
            if epoch <= epochs
            else f"{counted(epochs, 'epoch')} of {epochs} trained"
        )

    def _order(self, epoch: int) -> str:
        """Return how an epoch goes through the tasks, for its figure."""
        phases = self.phases(epoch)
        if any(len(tasks) > 1 for phase in phases for tasks in phase.steps):
            return "simultaneous"
        return "alternating" if any(len(phase.rows) > 1 for phase in phases) else "sequential"

    def step(self, rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Take one optimizer step; return the losses of its tasks."""
        training = self.recipe.training
        self.model.train()
        self.encoder_dropout(list(rows))
        factor = learning_rate_factor(training, self.state.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        batch = self.token_dropout(self.pairs.pack(rows, self.state.step, self.hardware.device), self.state.step)
        self.optimizer.catch_up(batch.token_ids)
        losses = self._losses(batch)
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        for task, value in values.items():
            self._check_finite(f"the loss of task {task}", value, {task: rows[task]})
        if len(losses) > 1:
            self.balancing.backward(losses, shared_of(self.model))
        else:
            next(iter(losses.values())).backward()
        if training.clip_norm is not None:
            norm = clip_gradients(self.model.parameters(), training.clip_norm)
            self._check_finite("the gradient's norm", float(norm), rows)
        self.optimizer.step()
        # Now, not before the next backward pass, so that the next step's activations find their memory free.
        self.optimizer.zero_grad(set_to_none=True)
        if len(losses) > 1:
            # With autograd on, though nobody asks for gradients: without it attention runs other kernels, which drop
            # other weights.
            self.balancing.after_step(lambda: self._losses(batch))
        self.state.step += 1
        return values

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of each task; asked again in the same step, it draws the same dropout."""
        torch.manual_seed(derive(self.recipe.training.seed, "step", self.state.step))
        outputs, step = self.model(batch), self.state.step
        return {
            task: self.soft_labels.loss(self.model.head(task), outputs[task], batch, task, step) for task in batch.tasks
        }

    def _check_finite(self, what: str, value: float, rows: Mapping[str, np.ndarray]) -> None:
        if not math.isfinite(value):
            places = "; ".join(
                f"task {task}, {self.recipe.tasks[task].train}, rows at lines "
                + ", ".join(str(self.data.train[task].lines[row]) for row in indices)
                for task, indices in rows.items()
            )
            raise NotFiniteError(f"{self._where(1)}: {what} is {value} ({places}); nothing was changed. {_TAMER}")

    def _check_weights(self) -> None:
        """Check that no weight is lost, so that no such is ever saved: without clip_norm nobody looks at gradients."""
        for name, parameter in self.model.named_parameters():
            if not bool(parameter.isfinite().all()):
                raise NotFiniteError(f"{self._where()}: {name} is no longer finite; nothing was saved. {_TAMER}")


_REMEDY = "Continue with --resume."
_TAMER = "Lower the learning rates, set clip_norm, or use --precision fp32."


def selected(found: Mapping[str, Any], select: str) -> float:
    """Return the score that chooses the best model; higher is better.

    Args:
        found: what `evaluate` returned.
        select: `overall`, or ``task.metric``.
    """
    if select == "overall":
        return float(found["overall"])
    task, _, metric = select.partition(".")
    value = float(found["tasks"][task][metric])
    return -value if metric in LOWER_IS_BETTER else value
