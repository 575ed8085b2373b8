"""What a run saves, and when: its states, and its best model.

`storage/commit_epoch.py` defines the order in which the files of an epoch are written.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbert_cli.model.saved_model import write_model
from mbert_cli.recipe.field_types import seconds_in
from mbert_cli.reports.evaluation_folder import Evaluation, write_evaluation
from mbert_cli.storage.commit_epoch import commit_epoch, commit_state
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.added_tasks import write_extended
from mbert_cli.training.datasets import dev_files
from mbert_cli.training.finite import check_weights
from mbert_cli.training.setup import TrainingSetup
from mbert_cli.training.state import TrainingState, write_state


class Saver:
    """Commits the states and the best model of a run to its folder.

    Args:
        setup: what is trained.
        folder: the run folder.
        state: how far the run is.
        fingerprint: what the result of the run depends on; see `fingerprint_of`.
        writes: whether to write at all. Of several processes that train together, only the first one does.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        folder: RunFolder,
        state: TrainingState,
        fingerprint: Mapping[str, Any],
        writes: bool = True,
    ) -> None:
        self._setup = setup
        self._folder = folder
        self._state = state
        self._fingerprint = fingerprint
        self._writes = writes
        self._dev_files = dev_files(setup.recipe)
        self._note_save()

    def is_due(self) -> bool:
        """Whether a state within the epoch is to be saved now, after so many steps or minutes."""
        every = self._setup.recipe.training.state_every
        if isinstance(every, int):
            return self._state.epoch_step % every == 0
        return every is not None and time.monotonic() - self._saved_time >= seconds_in(every)

    def save_progress(self) -> None:
        """Commit the state, unless no step was taken since the last commit.

        Raises:
            NotFiniteError: a weight is NaN or infinite; nothing was saved.
        """
        training, state = self._setup.recipe.training, self._state
        if state.step != self._saved_step:
            check_weights(self._setup.learner.model, state.position(training.epochs))
            if self._writes:
                commit_state(self._folder, state.epoch, state.epoch_step, self._write_state, training.keep)
            self._note_save()

    def commit_epoch(self, record: EpochRecord, evaluation: Evaluation | None) -> None:
        """Commit an epoch, with its model if it is the best so far.

        Args:
            record: the results of the epoch.
            evaluation: its scores and predictions on the dev files; None if it was not scored.
        """
        recipe, learner, base = self._setup.recipe, self._setup.learner, self._setup.base

        def write_best_model(at: Path) -> None:
            # Without the times in the record, so that a repeated run writes the same bytes.
            if base is not None:
                write_extended(at, base, learner.model, recipe, record.scores())
            else:
                write_model(at, learner.model, recipe, learner.tokenizer, self._encoder_changed(), record.scores())

        best = None
        if evaluation is not None and record.best:
            scored = evaluation.of("dev", self._dev_files, epoch=record.epoch, max_length=recipe.training.max_length)
            best = (write_best_model, lambda at: write_evaluation(at, scored))
        if self._writes:
            position = (self._state.epoch, self._state.epoch_step)
            like = [] if base is None else [base.folder]
            commit_epoch(self._folder, record, self._write_state, recipe.training.keep, best, position, like)
        self._note_save()

    def _note_save(self) -> None:
        self._saved_step, self._saved_time = self._state.step, time.monotonic()

    def _write_state(self, at: Path) -> None:
        write_state(at, self._state, self._fingerprint, self._setup.learner, self._encoder_changed())

    def _encoder_changed(self) -> bool:
        """Whether the encoder differs from its checkpoint."""
        return self._state.encoder_trained or self._setup.recipe.encoder.reinitialise != 0
