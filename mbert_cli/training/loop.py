"""The loop of a training run over epochs, phases and steps."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from mbert_cli.curricula import Phase
from mbert_cli.errors import CheckpointError, NotFiniteError, PeerFailedError, Stopped
from mbert_cli.evaluation.evaluate import evaluate
from mbert_cli.machine.signals import deferred, ignore_further_signals, stopped_by
from mbert_cli.reports.evaluation_folder import Evaluation
from mbert_cli.reports.figures import draw_figures
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.throughput import ThroughputMeter
from mbert_cli.training.console import print_round
from mbert_cli.training.ending_note import report_ending
from mbert_cli.training.finite import check_weights
from mbert_cli.training.options import RunOptions
from mbert_cli.training.pruning import Pruning
from mbert_cli.training.round_record import record_of
from mbert_cli.training.rounds import Rounds
from mbert_cli.training.saver import Saver
from mbert_cli.training.selection import selected
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import TrainingState
from mbert_cli.training.step import OptimizerStep
from mbert_cli.training.step_results import StepResult
from mbert_cli.training.time_left import time_left_of
from mbert_cli.training.trackers import Trackers

_REMEDY = "To continue, repeat the command with --resume."


class TrainingRun:
    """A training that is ready to `run`.

    Args:
        setup: what is trained.
        folder: where the run is kept.
        options: how it is trained.
        state: how far it is.
        fingerprint: what its result depends on; see `fingerprint_of`.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        folder: RunFolder,
        options: RunOptions,
        state: TrainingState,
        fingerprint: Mapping[str, Any],
    ) -> None:
        self.setup = setup
        self.recipe = setup.recipe
        self.model = setup.learner.model
        self.data = setup.data
        self.folder = folder
        self.options = options
        self.console = options.console
        self.state = state
        self.processes = options.processes
        self.step = OptimizerStep(setup, state, options.hardware.device, self.processes)
        self.saver = Saver(setup, folder, state, fingerprint, self.processes.is_first)
        self.throughput = ThroughputMeter()
        pruning = Pruning(options.prune_below, folder)
        self.rounds = Rounds(setup.recipe.training, setup.phases, state, self.processes, pruning)
        self.time_left = time_left_of(setup, state)
        self.trackers = Trackers(setup.recipe, folder, options)

    def run(self) -> EpochRecord:
        """Train until the run ends; return the round whose model was kept.

        Raises:
            MbertError: see `fit`.
            Stopped: a signal stopped training; progress was saved.
        """
        try:
            # Several processes must stop after the same step: see `_advance`.
            with nullcontext() if self.processes.is_alone else deferred():
                while self.rounds.are_left():
                    self._run_round()
            self.processes.wait()  # until the first process has written
            best = _kept_epoch(self.folder, self.state.best_epoch)
            if self.processes.is_first:
                report_ending(self.folder, self.console, self.rounds.reason(), self.recipe.training)
                draw_figures(self.folder, self.console)
        except BaseException as error:
            stop = stopped_by(error)
            if isinstance(error, NotFiniteError) and not self.processes.is_first:
                raise PeerFailedError(error.exit_code) from None  # the first process prints the same
            if stop is None:
                raise
            ignore_further_signals()
            _finish_steps(self)
            self.saver.save_progress()
            position = self.state.position(self.recipe.training.epochs)
            problem = f"{self.folder.path}: stopped; {position}, saved. {_REMEDY}" if self.processes.is_first else ""
            raise Stopped(stop.number, problem) from None
        return best

    def _run_round(self) -> None:
        """Train, score and commit a round."""
        while not self.rounds.is_over():
            if self.rounds.epoch_is_over():  # but not the round
                with deferred():
                    _end_epoch(self)
            self._train(self.state.epoch + 1)
            with deferred():
                _finish_steps(self)
        trained = time.monotonic()
        with deferred():
            self.setup.learner.optimizer.catch_up()
        evaluation = _evaluate(self)
        self.rounds.note_time()
        scored = time.monotonic()
        if evaluation is not None:
            self.time_left.evaluated(scored - trained)
        with deferred():
            self._commit(evaluation, scored - trained)
        self.time_left.saved(time.monotonic() - scored)

    def _train(self, epoch: int) -> None:
        """Train the remaining steps of an epoch, or of a round within it."""
        training, ahead = self.recipe.training, self.state.epoch_step
        for phase in self.setup.phases.of_epoch(epoch):
            taken = min(ahead, len(phase.steps))
            ahead -= taken
            if taken == len(phase.steps):
                continue
            everything = begin_phase(phase, self.setup, self.state)
            tasks = "all tasks" if len(phase.rows) > 1 else next(iter(phase.rows))
            frozen = "" if everything else ", encoder frozen"
            batches = phase.batches(self.data.sizes, training.batch_size, training.seed, epoch)
            with self.console.steps(f"epoch {epoch}/{training.epochs} {tasks}{frozen}", len(phase.steps)) as bar:
                bar.advance(by=taken)
                for rows in islice(batches, taken, None):
                    self._advance(rows, everything)
                    bar.advance(lambda: self.throughput.note(self.rounds.at_most(self.time_left.seconds())))
                    if self.rounds.is_over():
                        return

    def _advance(self, rows: Mapping[str, np.ndarray], everything: bool) -> None:
        """Take a step and count it; save the state if that is due."""
        started = time.monotonic()
        with deferred():
            results = self.step(rows)
            seconds = time.monotonic() - started
            tokens = sum(self.data.train[task].count_tokens(own) for task, own in rows.items())
            self.state.count_step(tokens, seconds)
            self.throughput.count(seconds, tokens)
            _count_losses(self, results)
            self.time_left.step((tuple(rows), everything), seconds, tokens)
            self.rounds.note_time()
            self.trackers.count_step(self.state.step, self.step.learning_rate, self.rounds.is_over())
            if self.saver.is_due():
                _finish_steps(self)
                self.saver.save_progress()
        if self.step.stop is not None:
            raise Stopped(self.step.stop)

    def _commit(self, evaluation: Evaluation | None, dev_seconds: float) -> None:
        """Record a round that was trained and perhaps scored, and commit it."""
        training, state = self.recipe.training, self.state
        check_weights(self.model, state.position(training.epochs))
        epoch = state.epoch + 1
        if self.rounds.epoch_is_over():
            _end_epoch(self)
        totals = state.end_round(list(self.data.train))
        record = record_of(self.setup, state, totals, evaluation, epoch, dev_seconds, self.options.hardware)
        if evaluation is not None:
            early_rounds = training.early_epochs if training.evaluate_every is None else 0
            score = selected(evaluation.metrics, training.select)
            record = replace(record, best=state.keep_if_best(score, early_rounds))
        # After `keep_if_best`, which may use up or restore the patience.
        record = replace(record, ended=self.rounds.recorded_reason(record))
        self.saver.commit_epoch(record, evaluation)
        self.trackers.log_round(record)
        print_round(self.console, record, training)


def _evaluate(run: TrainingRun) -> Evaluation | None:
    """Score the dev files. An epoch that `select_after` excludes is not scored, except at the end of the run."""
    training, epoch = run.recipe.training, run.state.epoch + 1
    if epoch <= training.early_epochs and run.rounds.reason() is None:
        return None
    with run.console.status(f"epoch {epoch}/{training.epochs}: scoring the dev files"):
        return evaluate(run.model, run.data.dev, processes=run.processes)


def _finish_steps(run: TrainingRun) -> None:
    """Wait for the steps that a GPU still computes, and count their losses.

    Raises:
        NotFiniteError: a loss is not finite; see `OptimizerStep`. Only in the first process.
        PeerFailedError: the same in the other processes.
    """
    started = time.monotonic()
    try:
        results = run.step.read()
    except NotFiniteError as error:
        if run.processes.is_first:
            raise
        raise PeerFailedError(error.exit_code) from None  # the first process prints the same
    run.state.seconds += time.monotonic() - started
    _count_losses(run, results)


def _count_losses(run: TrainingRun, results: Sequence[StepResult]) -> None:
    for result in results:
        run.state.count_losses(result.losses, result.rows)
        run.throughput.count_losses(result.losses)
        run.trackers.count_losses(result.losses, result.rows)


def _end_epoch(run: TrainingRun) -> None:
    """Start the next epoch."""
    run.setup.learner.balancing.end_epoch()
    run.state.end_epoch()


def begin_phase(phase: Phase, setup: TrainingSetup, state: TrainingState) -> bool:
    """Select the parameters that a phase trains; return whether it trains everything."""
    everything = setup.phases.trains_everything(phase)
    setup.learner.model.train_only(None if everything else list(phase.rows))
    state.encoder_trained |= everything
    return everything


def _kept_epoch(folder: RunFolder, number: int) -> EpochRecord:
    """Return the epoch, or another round, whose model was kept."""
    best = next((each for each in folder.read_metrics() if each.epoch == number), None)
    if best is None:
        raise CheckpointError(
            f"{folder.metrics_file}: has no line for epoch {number}, whose model is kept; put the file back, or start "
            "over with --force."
        )
    return best
